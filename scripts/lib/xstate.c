/* For user-mode Linux on a processor whose register state (XSAVE) is larger than that kernel knows, as with AMX: it hands
 * back the part that it has kept, and the host, which takes all or nothing, says EFAULT. Preloaded by scripts/vcan, this
 * puts what is missing behind it, as the process has it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

long ptrace(enum __ptrace_request request, ...) {
    static long (*next)(int, int, void *, void *);
    static char state[1 << 16]; /* user-mode Linux has one thread, with a small stack */
    va_list arguments;
    va_start(arguments, request);
    int process = va_arg(arguments, int);
    void *address = va_arg(arguments, void *);
    void *data = va_arg(arguments, void *);
    va_end(arguments);
    if (!next)
        next = (long (*)(int, int, void *, void *))dlsym(RTLD_NEXT, "ptrace");
    if (request == PTRACE_SETREGSET && (long)address == NT_X86_XSTATE) {
        struct iovec *part = data, whole = {state, sizeof state};
        if (next(PTRACE_GETREGSET, process, address, &whole) == 0 && part->iov_len < whole.iov_len) {
            memcpy(state, part->iov_base, part->iov_len);
            return next(request, process, address, &whole);
        }
    }
    return next(request, process, address, data);
}
