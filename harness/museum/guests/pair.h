// A pair in one source: what only the build with the bugs has, and what only the build without them has.
#ifdef DEFECTIVE
#define BUG(...) __VA_ARGS__
#define FIX(...)
#else
#define BUG(...)
#define FIX(...) __VA_ARGS__
#endif
#include "guest.h"
