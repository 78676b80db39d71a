/* Asking the system about itself; see host.h. */
#include "os/host.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

/* The text after `key` and what separates it, on the first line of a file that starts with it. Without quotes; cut to out_len. */
static void find_line(const char *path, const char *key, char *out, size_t out_len) {
    char line[512];
    FILE *f = fopen(path, "re");
    if (f == NULL) return;
    while (fgets(line, sizeof(line), f) != NULL) {
        size_t n = strlen(key);
        if (strncmp(line, key, n) != 0) continue;
        const char *value = line + n + strspn(line + n, " \t:=\"");
        size_t len = strcspn(value, "\"\n");
        if (len >= out_len) len = out_len - 1;
        memcpy(out, value, len);
        out[len] = '\0';
        break;
    }
    (void) fclose(f);
}

static uint64_t ask(int name) {
    long n = sysconf(name);
    return n > 0 ? (uint64_t) n : 0;
}

void host_info(struct host_info *out) {
    struct utsname u;
    cpu_set_t set;
    *out = (struct host_info){0};
    if (uname(&u) == 0) {
        (void) snprintf(out->hostname, sizeof(out->hostname), "%.250s", u.nodename);
        (void) snprintf(out->os_type, sizeof(out->os_type), "%.60s", u.sysname);
        (void) snprintf(out->os_name, sizeof(out->os_name), "%.60s", u.sysname);
        (void) snprintf(out->os_version, sizeof(out->os_version), "Kernel %.100s", u.release);
        (void) snprintf(out->kernel, sizeof(out->kernel), "%.127s", u.release);
        (void) snprintf(out->arch, sizeof(out->arch), "%.63s", u.machine);
    }
    find_line("/etc/os-release", "PRETTY_NAME", out->os_name, sizeof(out->os_name));
    find_line("/proc/cpuinfo", "model name", out->cpu, sizeof(out->cpu));
    out->page_len = (uint32_t) ask(_SC_PAGESIZE);
    out->memory_len = ask(_SC_PHYS_PAGES) * out->page_len;
    out->core_count = (uint32_t) ask(_SC_NPROCESSORS_ONLN);
    out->available_count = sched_getaffinity(0, sizeof(set), &set) == 0 ? (uint32_t) CPU_COUNT(&set) : out->core_count;
}

void process_info(struct process_info *out) {
    struct rusage usage;
    unsigned long long pages = 0, resident = 0;
    *out = (struct process_info){.pid = (uint64_t) getpid()};
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        out->page_faults = (uint64_t) usage.ru_majflt;
        out->max_resident_len = (uint64_t) usage.ru_maxrss * 1024;
        out->user_us = (uint64_t) usage.ru_utime.tv_sec * 1000000 + (uint64_t) usage.ru_utime.tv_usec;
        out->system_us = (uint64_t) usage.ru_stime.tv_sec * 1000000 + (uint64_t) usage.ru_stime.tv_usec;
    }
    FILE *f = fopen("/proc/self/statm", "re");
    if (f == NULL) return;
    if (fscanf(f, "%llu %llu", &pages, &resident) == 2) {
        out->virtual_len = pages * ask(_SC_PAGESIZE);
        out->resident_len = resident * ask(_SC_PAGESIZE);
    }
    (void) fclose(f);
}
