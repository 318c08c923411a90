# make demo          a whole rotation in a throw-away lab, and one that rolls back (GATEWAY=litellm: on the real proxy)
# make test          all tests, on real sops, `systemd --user`, LiteLLM and droid where the machine can run them; ARGS
#                    goes to pytest, WORKERS=0 runs them one after the other
# make lint          ruff and mypy
# make bench         keyrotor beside a plain shell script, sed, ripgrep and git, in one run
# make requirements  pin the dependencies again
PYTHON  ?= python3
GATEWAY ?= embedded
WORKERS ?= 4
PIP      = -m pip --disable-pip-version-check --quiet install --require-hashes
PROXY    = $(CURDIR)/.venv-litellm/bin/litellm
DROID    = $(CURDIR)/.droid/droid
LLM      = $(CURDIR)/.venv-llm/bin/llm

demo: .venv/ready $(if $(filter litellm,$(GATEWAY)),.venv-litellm/ready)
	.venv/bin/keyrotor demo --gateway $(GATEWAY) $(if $(filter litellm,$(GATEWAY)),--litellm $(PROXY))

test: .venv/ready .venv-litellm/ready .venv-llm/ready $(if $(shell command -v npm),.droid/ready)
	KEYROTOR_LITELLM=$(PROXY) KEYROTOR_DROID=$(DROID) KEYROTOR_LLM=$(LLM) .venv/bin/python -m pytest -n $(WORKERS) $(ARGS)

lint: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

bench: .venv/ready .venv-litellm/ready
	KEYROTOR_LITELLM=$(PROXY) .venv/bin/python tests/bench.py $(ARGS)
	KEYROTOR_LITELLM=$(PROXY) .venv/bin/python tests/bench/held_port.py
	.venv/bin/python tests/bench/clients.py
	.venv/bin/python tests/bench/sweep.py

.venv/ready: requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/python $(PIP) -r requirements/dev.txt
	.venv/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --no-build-isolation --editable .
	touch $@

# The gateway, and llm, a client of it: each in an environment of its own.
.venv-%/ready: requirements/%.txt
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python $(PIP) -r requirements/$*.txt
	touch $@

# Another client of the gateway, for the tests alone; where it cannot be had they skip, or fail where every real part is
# required. No script of a package is run: the program is linked to by hand. Node trusts what the machine trusts.
.droid/ready: export NODE_EXTRA_CA_CERTS ?= $(wildcard /etc/ssl/certs/ca-certificates.crt)
.droid/ready: requirements/droid.json
	mkdir -p .droid
	cp requirements/droid.json .droid/package.json
	npm install --prefix .droid --ignore-scripts --no-package-lock --no-audit --no-fund --no-update-notifier --loglevel error \
	  && ln -sf "$$(ls $(CURDIR)/.droid/node_modules/@factory/cli-*/bin/droid | head -n 1)" .droid/droid \
	  && .droid/droid --version && touch $@ || echo 'cannot fetch droid: what needs it is not tested'

UV = uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --no-annotate --universal --python-version 3.11
requirements:
	$(UV) --extra dev --extra demo pyproject.toml --output-file requirements/dev.txt
	printf 'litellm[proxy]==1.106.2\nprisma\n' | $(UV) - --output-file requirements/litellm.txt
	echo llm==0.36 | $(UV) - --output-file requirements/llm.txt

.PHONY: demo test lint bench requirements
