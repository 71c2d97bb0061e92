# The commands of a study. The Makefile of lenetlab's repository includes this file, and adds `setup`, which installs everything;
# in a project that `lenetlab init` made it is the Makefile, and needs dvc and lenetlab on the PATH.
SHELL := /bin/bash
# Run a command, then sync: DVC restores outputs from its cache without running the stage that sends them to MLflow.
# The exit status is that of the command. Without the trap, bash would sync after Ctrl-C.
define with_sync
trap 'exit 130' INT; $(1); status=$$?; lenetlab sync; exit $$status
endef
# On another machine the results differ, at least in times. DVC restores only what a commit's dvc.lock names.
RESULTS := dvc.lock reports docs/sensitivity.json
define say_what_to_commit
test -z "$$(git status --porcelain -- $(RESULTS) 2>/dev/null)" || \
  echo "new results: to keep them, git add params.yaml $(RESULTS) && git commit"
endef

.DEFAULT_GOAL := help
.PHONY: help setup check repro settle ui experiments plots report sensitivity sync

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(wildcard pipeline.mk) Makefile

check: setup  ## check params.yaml and the statements, and list every error
	@lenetlab check

repro: check  ## run the pipeline, or what of it is out of date
	@$(call with_sync,dvc repro)
	@$(say_what_to_commit)

settle: check  ## add seeds until every comparison has a verdict
	@$(call with_sync,lenetlab settle)
	@$(say_what_to_commit)

ui: setup  ## open the runs in MLflow, on this machine only
	@lenetlab ui

experiments: setup  ## list the DVC experiments, with the columns that differ
	@dvc exp show --only-changed --drop ".*(runs|journals|evaluations|src/|stages|data/|docs/|networks|costs)"

plots: setup  ## draw curves and confusion matrices of HEAD and of this folder; the page loads Vega from the network
	@dvc plots diff

report: setup  ## render the report again from the files on disk, in seconds
	@lenetlab report

sensitivity: check  ## train with one setting changed at a time; a quarter of an hour
	@dvc repro prepare
	@lenetlab sensitivity
	@$(call with_sync,dvc repro)
	@$(say_what_to_commit)

sync: setup  ## send to MLflow what it lacks of the files on disk
	@lenetlab sync
