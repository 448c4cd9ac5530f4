//@ start none
//@ build kernel_switch: -DUNWINDER_ORC -DBUG_SWITCH_HINT
// The small kernel with a hint for its switch of tasks that does not follow what it pushes. switch_each_insn-orc is the same without it.
#include "x86_64/switch_each_insn.S"
