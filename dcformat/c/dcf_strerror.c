/* Errors in English. Spec: spec/registry.md, "Error codes". */
#include "dcf_internal.h"

#if DCF_WITH_STRERROR

const char *dcf_strerror(int status)
{
    switch (status) {
    case DCF_OK: return "no error";
    case DCF_ERR_ARGUMENT: return "there is no such tensor or row";
    case DCF_ERR_TRUNCATED: return "ends inside a field or a symbol";
    case DCF_ERR_MAGIC: return "not a .dcf file";
    case DCF_ERR_VERSION: return "a version that this reader does not know";
    case DCF_ERR_CHECKSUM: return "a CRC differs";
    case DCF_ERR_STRUCTURE: return "a field is impossible or contradicts another";
    case DCF_ERR_PADDING: return "a reserved or padding bit is not zero";
    case DCF_ERR_RANGE: return "a position or symbol is outside its tensor or alphabet";
    case DCF_ERR_CODE: return "not a valid entropy code";
    case DCF_ERR_UNSUPPORTED: return "uses a room or type that this decoder lacks";
    case DCF_ERR_FEATURE: return "an unknown incompat flag, critical section or codec";
    case DCF_ERR_LIMIT: return "larger than a limit";
    case DCF_ERR_SPACE: return "not enough room";
    default: return "an error of the caller's";
    }
}

#elif !defined(DCF_ONE_FILE)

typedef int dcf_no_strerror; /* ISO C wants something in every file */

#endif
