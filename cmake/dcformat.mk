# Models as C for Makefiles: include $(shell dcconvert --cmake-dir)/dcformat.mk
#
#   $(eval $(call dcf_model,build/model,model.onnx,--recipe recipe.toml --selftest))
#
# makes build/model.c and build/model.h (third part: more options of dcconvert). They are made again
# when the model, files it refers to, the recipe or dcformat itself have changed; where nothing in
# them is new they keep their time, and nothing is compiled again. Names have no spaces, as Make
# wants it. DCF_INCLUDE is the folder of dcf.h, DCF_SOURCES are those of the decoder.
DCCONVERT ?= dcconvert
DCF_FOLDER := $(dir $(lastword $(MAKEFILE_LIST)))
DCF_INCLUDE := $(dir $(firstword $(wildcard $(DCF_FOLDER)../c/dcf.h $(DCF_FOLDER)../dcformat/c/dcf.h)))
DCF_SOURCES := $(wildcard $(DCF_INCLUDE)*.c)

define dcf_model
$(1).stamp: $(2)
	$$(DCCONVERT) $(2) -o $(1).c --quiet --depfile $(1).d --depfile-target $$@ $(3)
	@touch $$@
$(1).c $(1).h: $(1).stamp ;
-include $(1).d
endef
