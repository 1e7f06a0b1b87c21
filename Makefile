# Every target makes its own virtual environment when it is missing or older than pyproject.toml.
# CI runs these targets and nothing else.

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
STAMP  := $(VENV)/.complete
# Two cores everywhere that we know of; more do not hurt.
JOBS   ?= 2
# Tests run side by side, and the matrices of networks are too small for a second thread.
export OPENBLAS_NUM_THREADS ?= 1

MODEL  ?=
BOARD  ?= ulx3s-85f
TARGET ?= $(BOARD)
# The small system, hw/small: no SDRAM, the clock of its oscillator, a small network.
SMALL  := $(filter icebreaker-up5k,$(BOARD))
CLOCK  ?= 50
RATE   ?= 1
CLOCKS := $(if $(SMALL),,--clock-mhz $(CLOCK) --sdram-rate $(RATE))
SEEDS  ?= 1
RUN    ?=
INPUT  ?=
HEADS  ?=
SCORE  ?=
RTL    ?=
LOADER := $(or $(shell command -v openFPGALoader),$(VENV)/bin/openfpgaloader-cli)
PROOFS ?=
DEMO   := build/demo
SIM    := build/sim
FW     := build/firmware
SOC    := build/soc
BIT    := build/bitstream
SMALL_MODEL := yolov4-tiny-eighth-64
BIT_MODEL := $(or $(MODEL),$(if $(SMALL),$(SMALL_MODEL)))
# A small network if none is named. Built-in ones were not trained, their boxes are noise: only the
# best are asked for, some two dozen; the firmware has room for 256. Large images are not verified by
# the firmware, which would take minutes to simulate.
SOC_MODEL := $(or $(MODEL),$(if $(SMALL),$(SMALL_MODEL),yolov4-tiny-quarter-96))
SOC_RUN   := --board $(BOARD) $(if $(MODEL)$(SMALL),--no-checksum) --score $(or $(SCORE),$(if $(MODEL),$(if $(filter %.onnx,$(MODEL)),0.25,0.85),0.6))

.PHONY: help setup demo sim firmware soc-sim bitstream flash test fast formal lint docs bench clean
help:
	@echo "make demo    build the default network (YOLOv4-tiny-416, INT8) and verify it bit for bit"
	@echo "             MODEL=file.onnx TARGET=$(TARGET) INPUT=photo.jpg for others"
	@echo "make sim     the same in RTL, cycle by cycle, with and without all tensors kept (minutes)"
	@echo "             MODEL=file.onnx TARGET=$(TARGET) INPUT=photo.jpg for others"
	@echo "make firmware  headers of a model, and the program of the soft core with them (build/firmware)"
	@echo "             MODEL=file.onnx TARGET=$(TARGET) HEADS=heads.json for others"
	@echo "make soc-sim the whole system in RTL: processor, SDRAM and core run a frame of a small network"
	@echo "             MODEL=file.onnx TARGET=$(TARGET) INPUT=photo.jpg HEADS=heads.json SCORE=0.25 for others"
	@echo "make bitstream  a board's bitstream and the program for its SDRAM (build/bitstream; see docs/board.md)"
	@echo "             BOARD=$(BOARD) MODEL=file.onnx TARGET=$(TARGET) CLOCK=$(CLOCK) RATE=$(RATE) SEEDS='1 2 3' JOBS=$(JOBS) for others;"
	@echo "             RUN=run.json (sim soc --json) for frames per second"
	@echo "             BOARD=icebreaker-up5k for the small system (docs/board.md); soc-sim and firmware likewise"
	@echo "make flash   load the bitstream with openFPGALoader (never tried)"
	@echo "make test    all tests (make fast: those of seconds)"
	@echo "make formal  prove properties of the gateware (minutes); PROOFS='tokens read.rules' for some"
	@echo "make lint    style and types"
	@echo "make docs    print the generated pages of the manual"
	@echo "make bench   times, cycles and traffic as tables"
	@echo "             RTL=1 for whole frames and layers in RTL, against the goals (minutes)"
	@echo "make setup   the virtual environment alone"
	@echo "make clean   remove build/"

setup: $(STAMP)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $(PYTHON) must be Python 3.11 or newer, not $$($(PYTHON) -V 2>&1);" \
	       "name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); \
	  echo "error: $(PYTHON) cannot make virtual environments;" \
	       "on Debian and Ubuntu: sudo apt install python3-venv" >&2; exit 1; }
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: $(STAMP)
	$(PY) -m codegen build $(MODEL) --target $(TARGET) --keep-tensors -o $(DEMO)
	$(PY) -m sim verify $(DEMO) $(if $(INPUT),--input $(INPUT))

sim: $(STAMP)
	$(PY) -m codegen build $(MODEL) --target $(TARGET) --keep-tensors --quiet -o $(SIM)/debug
	$(PY) -m sim verify $(SIM)/debug --engine rtl $(if $(INPUT),--input $(INPUT))
	$(PY) -m codegen build $(MODEL) --target $(TARGET) --quiet -o $(SIM)/normal
	$(PY) -m sim verify $(SIM)/normal --engine rtl --quiet $(if $(INPUT),--input $(INPUT))

firmware: $(STAMP)
	$(PY) -m codegen build $(BIT_MODEL) --target $(TARGET) --quiet -o $(FW)/build
	$(PY) -m codegen header $(FW)/build -o $(FW)/headers $(if $(HEADS),--heads $(HEADS))
	$(PY) -m hw firmware $(FW)/headers --board $(BOARD) --target $(TARGET) -o $(FW)

soc-sim: $(STAMP)
	$(PY) -m codegen build $(SOC_MODEL) --target $(TARGET) --quiet -o $(SOC)/build
	$(PY) -m codegen header $(SOC)/build -o $(SOC)/headers $(if $(HEADS),--heads $(HEADS))
	$(PY) -m sim soc $(SOC)/build --headers $(SOC)/headers $(SOC_RUN) \
	  $(if $(HEADS),--heads $(HEADS)) $(if $(INPUT),--input $(INPUT))

bitstream: $(STAMP)
	$(PY) -m codegen build $(BIT_MODEL) --target $(TARGET) --quiet -o $(BIT)/build
	$(PY) -m codegen header $(BIT)/build -o $(BIT)/headers $(if $(HEADS),--heads $(HEADS))
	$(PY) -m hw firmware $(BIT)/headers --board $(BOARD) --target $(TARGET) $(CLOCKS) -o $(BIT)
	$(PY) -m hw bitstream --board $(BOARD) --target $(TARGET) $(CLOCKS) \
	  --seeds $(SEEDS) --jobs $(JOBS) $(if $(SMALL),,--rom $(BIT)/boot.bin) \
	  $(if $(RUN),--cycles-from $(RUN)) -o $(BIT)
ifneq ($(SMALL),)
	@echo "bitstream: $(BIT)/board.bin, for the flash's beginning; $(BIT)/firmware.bin from 1 MB on:"
	@echo "  iceprog $(BIT)/board.bin && iceprog -o 1M $(BIT)/firmware.bin (make flash BOARD=$(BOARD); never tried)"
else
	@echo "bitstream: $(BIT)/board.bit (make flash); program for the SDRAM: $(BIT)/firmware.bin, then"
	@echo "  $(VENV)/bin/litex_term --speed 1000000 --kernel $(BIT)/firmware.bin --kernel-adr 0x40000000 /dev/ttyUSB0"
endif
	@echo "docs/board.md says more"

flash: $(STAMP)
	@test -f $(BIT)/board.$(if $(SMALL),bin,bit) || { \
	  echo "error: $(BIT)/board.$(if $(SMALL),bin,bit) must exist; make bitstream BOARD=$(BOARD)" >&2; exit 1; }
	@test -x $(LOADER) || $(PY) -m pip install --quiet --disable-pip-version-check -e '.[flash]'
ifneq ($(SMALL),)
	$(LOADER) --board ice40_generic --write-flash $(BIT)/board.bin
	$(LOADER) --board ice40_generic --write-flash --offset 1048576 $(BIT)/firmware.bin
else
	$(LOADER) --board ulx3s $(BIT)/board.bit
endif

test: $(STAMP)
	$(PY) -m pytest -m "" -n $(JOBS) --dist worksteal

fast: $(STAMP)
	$(PY) -m pytest -n $(JOBS) --dist worksteal

formal: $(STAMP)
	$(PY) -m hw formal $(PROOFS) --jobs $(JOBS)

lint: $(STAMP)
	$(PY) -m ruff check .
	$(PY) -m mypy

docs: $(STAMP)
	$(PY) -m docs.generate

bench: $(STAMP)
	$(PY) -m tests.bench $(if $(RTL),--rtl --jobs $(JOBS))

clean:
	rm -rf build
