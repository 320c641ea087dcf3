# Transforms as WebAssembly components. Included by the top Makefile, which is where it runs.

# Where they go; those of the tests and of the bench into its folder `tests`.
OUT ?= guest-transforms/dist

.PHONY: guests guests-runtime
guests:
	cargo run --quiet --package build-guests -- --out "$(abspath $(OUT))" $(if $(filter no,$(INSTALL)),--no-install)

# Apart, since they take tools of other languages and minutes.
guests-runtime:
	@guest-transforms/runtime.sh "$(abspath $(OUT))"
