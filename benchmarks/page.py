"""The report's page, checked by others' rules: python -m benchmarks.page

axe-core looks at it in headless Chromium, at the width of a desk and of a phone, by day and by night, for what keeps
people out (WCAG 2.1 AA and its best practices); html-validate reads its text. Both come from npm.
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
HEAVIEST = 5_000_000  # bytes
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
SCRIPT = """<script>axe.run(document, {runOnly: %s}).then(found => {
  const told = document.createElement("pre");
  told.id = "told";
  told.textContent = JSON.stringify(found.violations.map(one => `${one.id}: ${one.help} (${one.nodes.length} times)`));
  document.body.append(told);
})</script>"""


def main() -> None:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    missing = [name for name, found in (("chromium", browser), ("npm", shutil.which("npm"))) if not found]
    if missing:
        raise UserError(f"{' and '.join(missing)}: not found; remedy: install it from the system's packages")
    problems = [f"{PAGE}: more than {HEAVIEST} bytes"] if PAGE.stat().st_size > HEAVIEST else []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(["npm", "install", "--silent", "--no-fund", *TOOLS], cwd=folder, check=True)
        problems += _invalid(folder)
        for width in (1200, 390):
            for theme in ("light", "dark"):
                problems += [f"{width} pixels, {theme}: {one}" for one in _violations(folder, browser, width, theme)]
    if problems:
        raise UserError(*problems)
    print(f"{PAGE}: valid, no violation, {PAGE.stat().st_size:,} bytes")


def _invalid(folder: Path) -> list[str]:
    """What html-validate says of the page; styles of its own are meant to be there."""
    rules = {"extends": ["html-validate:standard"], "rules": {"no-inline-style": "off"}, "root": True}
    (folder / ".htmlvalidate.json").write_text(json.dumps(rules))
    shutil.copyfile(PAGE, folder / "page.html")
    command = ["npx", "--no-install", "html-validate", "--formatter", "text", "page.html"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout.splitlines()


def _violations(folder: Path, browser: str, width: int, theme: str) -> list[str]:
    """What axe finds. The page forbids all scripts, so that rule is taken out of the copy that is looked at."""
    axe = (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    text = re.sub(r"<meta http-equiv=[^>]*>", "", PAGE.read_text(encoding="utf-8"))
    script = f"<script>{axe}</script>{SCRIPT % json.dumps(RULES)}"
    (folder / "watched.html").write_text(text.replace("</body>", f"{script}</body>"), encoding="utf-8")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=60000", "--dump-dom"]
    command += [f"--blink-settings=preferredColorScheme={int(theme == 'light')}", f"--window-size={width},900"]
    done = subprocess.run([*command, (folder / "watched.html").as_uri()], capture_output=True, text=True, check=True)
    told = re.search(r'<pre id="told">(.*?)</pre>', done.stdout, re.DOTALL)
    return json.loads(html.unescape(told[1])) if told else ["axe-core did not come to an end"]


if __name__ == "__main__":
    with reporting_errors():
        main()
