PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.stamp
DEMO := OSULeaf

.PHONY: setup demo test lint bench docs clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[all,test]' --constraint constraints.txt
	touch $(STAMP)

demo: $(STAMP)
	rm -rf runs/demo
	$(BIN)/seqcl pretrain series --data aeon:$(DEMO):train --out runs/demo
	$(BIN)/seqcl evaluate runs/demo --train aeon:$(DEMO):train --test aeon:$(DEMO):test \
		--report runs/demo/report.html

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

docs: $(STAMP)
	$(BIN)/python -m pip install --quiet '.[docs]' --constraint constraints.txt
	$(BIN)/mkdocs build --strict

bench: $(STAMP)
	$(BIN)/python -m pip install --quiet '.[bench]' --constraint constraints.txt
	$(BIN)/python benchmarks/losses.py --out benchmarks/results/losses
	$(BIN)/python benchmarks/views.py --out benchmarks/results/views
	$(BIN)/python benchmarks/image_views.py --out benchmarks/results/image_views $(if $(SEQCL_DATA),--data $(SEQCL_DATA)/images)
	$(BIN)/python benchmarks/ts2vec_loss.py --out benchmarks/results/ts2vec_loss
	$(BIN)/python benchmarks/gradcache.py --out benchmarks/results/gradcache
	$(BIN)/python benchmarks/search.py --out benchmarks/results/search
	$(BIN)/python benchmarks/series.py --out benchmarks/results/series $(if $(SEQCL_DATA),--data $(SEQCL_DATA)/series)
	$(BIN)/python benchmarks/series.py --preset series-instant --out benchmarks/results/series-instant \
		$(if $(SEQCL_DATA),--data $(SEQCL_DATA)/series)
	$(BIN)/python benchmarks/audio_speed.py --out benchmarks/results/audio_speed
	$(BIN)/python benchmarks/anomaly_speed.py --out benchmarks/results/anomaly_speed
	$(if $(SEQCL_DATA),$(BIN)/python benchmarks/anomaly.py --out benchmarks/results/anomaly --data $(SEQCL_DATA)/sensor)
	$(if $(SEQCL_DATA),$(BIN)/python benchmarks/audio.py --out benchmarks/results/audio --data $(SEQCL_DATA)/audio)
	$(if $(SEQCL_QUERIES),$(BIN)/python benchmarks/identify.py --out benchmarks/results/identify --data $(SEQCL_DATA)/audio \
		--queries $(SEQCL_QUERIES))
	$(if $(SEQCL_DATA),$(BIN)/python benchmarks/methods.py --out benchmarks/results/methods --data $(SEQCL_DATA)/series)
	$(if $(SEQCL_DATA),$(BIN)/python benchmarks/images.py --out benchmarks/results/images --data $(SEQCL_DATA)/images)
	$(if $(SEQCL_DATA),$(BIN)/python benchmarks/few_labels.py --out benchmarks/results/few_labels --data $(SEQCL_DATA)/series \
		--images $(SEQCL_DATA)/images)
	$(BIN)/python benchmarks/closed_form.py --out benchmarks/results/closed_form $(if $(SEQCL_DATA),--data $(SEQCL_DATA)/series)

clean:
	rm -rf .venv build *.egg-info runs
