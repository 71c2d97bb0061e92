"""Check the HTML report for accessibility and valid HTML: python -m benchmarks.page

axe-core checks it in headless Chromium against WCAG 2.1 AA and axe's best practices, with the widths of a desktop and a
phone, in light and dark mode. html-validate checks its source. Both come from npm.
"""

import html
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from lenetlab.errors import UserError, reporting_errors

PAGE = Path(__file__).parents[1] / "reports" / "report.html"
TOOLS = ("axe-core@4.14.1", "html-validate@10.17.0")
MAX_BYTES = 5_000_000
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
SCRIPT = """<script>axe.run(document, {runOnly: %s}).then(result => {
  const output = document.createElement("pre");
  output.id = "violations";
  output.textContent = JSON.stringify(result.violations.map(rule =>
    `${rule.id}: ${rule.help} (${rule.nodes.length} times)`));
  document.body.append(output);
})</script>"""


def main() -> None:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    missing = [name for name, path in (("chromium", browser), ("npm", shutil.which("npm"))) if not path]
    if missing:
        raise UserError(f"{' and '.join(missing)}: not found; remedy: install it from the system's packages")
    problems = [f"{PAGE}: more than {MAX_BYTES} bytes"] if PAGE.stat().st_size > MAX_BYTES else []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(["npm", "install", "--silent", "--no-fund", *TOOLS], cwd=folder, check=True)
        problems += _html_errors(folder)
        for width in (1200, 390):
            for theme in ("light", "dark"):
                problems += [
                    f"{width} pixels, {theme}: {violation}" for violation in _violations(folder, browser, width, theme)
                ]
    if problems:
        raise UserError(*problems)
    print(f"{PAGE}: valid, no violation, {PAGE.stat().st_size:,} bytes")


def _html_errors(folder: Path) -> list[str]:
    """The messages of html-validate. Inline styles are allowed."""
    rules = {"extends": ["html-validate:standard"], "rules": {"no-inline-style": "off"}, "root": True}
    (folder / ".htmlvalidate.json").write_text(json.dumps(rules))
    shutil.copyfile(PAGE, folder / "page.html")
    command = ["npx", "--no-install", "html-validate", "--formatter", "text", "page.html"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout.splitlines()


def _violations(folder: Path, browser: str, width: int, theme: str) -> list[str]:
    """The violations that axe finds. Checks a copy without the content security policy, which forbids scripts."""
    axe = (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    text = re.sub(r"<meta http-equiv=[^>]*>", "", PAGE.read_text(encoding="utf-8"))
    script = f"<script>{axe}</script>{SCRIPT % json.dumps(RULES)}"
    (folder / "checked.html").write_text(text.replace("</body>", f"{script}</body>"), encoding="utf-8")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=60000", "--dump-dom"]
    command += [f"--blink-settings=preferredColorScheme={int(theme == 'light')}", f"--window-size={width},900"]
    done = subprocess.run([*command, (folder / "checked.html").as_uri()], capture_output=True, text=True, check=True)
    output = re.search(r'<pre id="violations">(.*?)</pre>', done.stdout, re.DOTALL)
    return json.loads(html.unescape(output[1])) if output else ["axe-core did not finish"]


if __name__ == "__main__":
    with reporting_errors():
        main()
