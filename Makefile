# make repro: the environment, then the whole pipeline. make test: the environment, then linting and the tests.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: help env repro converged scientific whole pretrained baselines rankers tuned others page screenshot test audit format clean
help: ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

env: $(VENV)/.complete ## create the environment in .venv

# .complete is written last: an interrupted installation is taken up again.
$(VENV)/.complete: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "error: Python 3.11 or newer is needed; make PYTHON=<path> names one")'
	@echo "Creating the environment in $(VENV) (2 GB with the CPU build of torch, more with CUDA; some minutes) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on -q -r requirements.lock
	@$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps --no-build-isolation -e .
	@touch $@
	@echo "Environment ready."

repro: env ## rebuild everything that is out of date, then show the metrics
	@echo "Running the pipeline (dvc repro) ..."
	dvc repro
	@dvc metrics show --precision 4
	@echo "Report: report/index.html"

# A process a core with one thread each: models as small as the tests' gain nothing from more threads. A file stays in one
# process, because its tests share what was made for them; more than four would wait for tests/pipeline/test_repro.py.
test: env ## lint and run the tests (no network, no GPU, no long training)
	ruff check .
	ruff format --check .
	OMP_NUM_THREADS=1 python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder \
	  -m "not network and not slow and not gpu"

# pip-audit has an environment of its own: what it needs is not what the project needs.
audit: env ## look for known vulnerabilities of the pinned packages; one line where osv.dev cannot be reached
	@if $(BIN)/python -c 'import requests; requests.get("https://api.osv.dev", timeout=10)' 2>/dev/null; then \
	  { test -x .venv-audit/bin/pip-audit || { $(PYTHON) -m venv .venv-audit && \
	    .venv-audit/bin/python -m pip install --disable-pip-version-check -q pip-audit; }; } && \
	  .venv-audit/bin/pip-audit --requirement requirements.lock --no-deps --disable-pip --vulnerability-service osv; \
	else echo "audit skipped: https://api.osv.dev cannot be reached from here"; fi

format: env ## let ruff format the code
	ruff check --fix .
	ruff format .

# From the folder that has the data of all datasets: what is missing is missing in the page, too. Commit results first: the
# page names the commit of every number.
page: env ## the report as one file for readers, from the results and data that are here: docs/report.html
	python stages/report.py --page docs/report.html

screenshot: ## the first screen of docs/report.html, for the README (needs chromium): docs/report.png
	chromium --headless --no-sandbox --hide-scrollbars --blink-settings=preferredColorScheme=1 --window-size=1200,1000 \
	  --screenshot=docs/report.png docs/report.html

clean: ## remove the environment; results and downloaded data stay
	rm -rf $(VENV)

converged: repro ## and SASRec and Recformer with more patience (half an hour more): metrics/ml-100k/full/*-converged.json
	for run in sasrec-converged recformer-original-converged recformer-lamar-converged recformer-placebo-converged; do \
	  python stages/sequences.py ml-100k $$run && python stages/train.py ml-100k $$run && \
	  python stages/evaluate.py ml-100k $$run || exit 1; done

pretrained: env ## after `make scientific`: what starts from a Recformer pre-trained here (two and a half hours)
	python stages/fetch.py games && python stages/prepare.py games
	for source in scientific games; do python stages/pretrain.py $$source || exit 1; done
	for features in original lamar; do for start in games own small-original small-lamar; do \
	  runs="$$runs recformer-$$start-$$features"; done; done; \
	for run in $$runs; do \
	  python stages/sequences.py scientific $$run && python stages/train.py scientific $$run && \
	  python stages/evaluate.py scientific $$run || exit 1; done
	python stages/significance.py scientific && python stages/buckets.py scientific && python stages/report.py

scientific: env ## train on Amazon's scientific products, 3 seeds each (two hours): metrics/scientific/full/*.json
	python stages/fetch.py scientific && python stages/prepare.py scientific
	python stages/backbone.py minilm && python stages/backbone.py mpnet
	for stage in propose generate signals; do python stages/$$stage.py scientific qwen-coder || exit 1; done
	for features in original lamar placebo random-words description signal-only; do \
	  runs="$$runs recformer-$$features-products"; done; \
	for run in popularity sasrec-products $$runs; do \
	  python stages/sequences.py scientific $$run && python stages/train.py scientific $$run && \
	  python stages/evaluate.py scientific $$run || exit 1; done
	for encoder in minilm mpnet; do python stages/embeddings.py scientific qwen-coder $$encoder || exit 1; done
	python stages/diversity.py scientific qwen-coder
	python stages/significance.py scientific && python stages/buckets.py scientific && python stages/report.py

whole: env ## after `make scientific`, on a GPU: Recformer with all layers trained, 3 seeds each (some minutes)
	for features in original lamar placebo; do run=recformer-$$features-whole; \
	  python stages/sequences.py scientific $$run && python stages/train.py scientific $$run && \
	  python stages/evaluate.py scientific $$run || exit 1; done
	python stages/significance.py scientific && python stages/buckets.py scientific && python stages/report.py

baselines: env ## after `make scientific`: the other models on the same products, 3 seeds each (an hour)
	for features in original lamar placebo; do \
	  runs="$$runs unisrec-$$features-products zesrec-$$features-products s3rec-$$features-products"; done; \
	for run in bert4rec-products unisrec-ids-original-products unisrec-ids-lamar-products $$runs; do \
	  python stages/sequences.py scientific $$run && python stages/encode.py scientific $$run && \
	  python stages/train.py scientific $$run && python stages/evaluate.py scientific $$run || exit 1; done
	python stages/significance.py scientific && python stages/buckets.py scientific && python stages/report.py

rankers: POOLS := sampled-20 sampled-99 sasrec-products-100
rankers: RUNS := pool-popularity-small untuned-small-original untuned-small-lamar lora-small-original lora-small-lamar
rankers: env ## after `make scientific`: a small LLM learns to rank pools, 3 seeds each (an hour and three quarters)
	$(ranked)

tuned: POOLS := sampled-20 sampled-99 sampled-499 sasrec-products-100
tuned: RUNS := pool-popularity-some $(foreach size,half some,$(foreach features,original lamar,untuned-$(size)-$(features) lora-$(size)-$(features)))
tuned: env ## after `make scientific`, on a GPU of 80 GB: LLMs of 0.5B and 1.5B learn to rank pools, those of 500 for eight users (half an hour, estimated)
	$(ranked)

define ranked
python stages/retrieve.py scientific sasrec-products
for run in $(RUNS); do \
  python stages/sequences.py scientific $$run || exit 1; \
  for pools in $(POOLS); do \
    python stages/pools.py scientific $$run $$pools || exit 1; done; \
  python stages/tune.py scientific $$run || exit 1; \
  for pools in $(POOLS); do \
    python stages/rank.py scientific $$run $$pools && \
    python stages/evaluate_ranker.py scientific $$run $$pools || exit 1; done; done
python stages/report.py
endef

others: env ## and on video games and MovieLens-1M with storylines (four hours; of Recformer's 3 seeds the first is committed)
	for dataset in games ml-1m-storylines; do \
	  python stages/fetch.py $$dataset && python stages/prepare.py $$dataset && python stages/backbone.py minilm || exit 1; \
	  for stage in propose generate signals; do python stages/$$stage.py $$dataset qwen-coder || exit 1; done; \
	  case $$dataset in games) kind=;; *) kind=-films;; esac; \
	  for run in popularity sasrec unisrec-original$$kind unisrec-lamar$$kind recformer-original-products recformer-lamar-products; do \
	    python stages/sequences.py $$dataset $$run && python stages/encode.py $$dataset $$run && \
	    python stages/train.py $$dataset $$run && \
	    python stages/evaluate.py $$dataset $$run || exit 1; done; \
	  python stages/embeddings.py $$dataset qwen-coder minilm && python stages/diversity.py $$dataset qwen-coder && \
	  python stages/significance.py $$dataset && python stages/buckets.py $$dataset || exit 1; done
	python stages/report.py
