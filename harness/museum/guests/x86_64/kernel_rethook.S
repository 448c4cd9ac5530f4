//@ start none
//@ build kernel_rethook-no_address: -DUNWINDER_ORC -DBUG_NO_FAKE_ADDRESS
//@ build kernel_rethook-plain_fp: -DUNWINDER_FRAME_POINTER -DBUG_PLAIN_FRAME_POINTER
// The small kernel with bugs in the trampoline of hooked returns. The builds of rethook are the same without them.
#include "x86_64/rethook.S"
