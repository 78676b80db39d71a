/* The machine and this process, as hostInfo and serverStatus tell them. Answers are what the system says at the moment; what it does not say is 0 or empty. */
#ifndef ELMO_OS_HOST_H
#define ELMO_OS_HOST_H

#include <stdint.h>

struct host_info {
    char hostname[256];
    char os_type[64], os_name[128], os_version[128]; /* "Linux", "Debian GNU/Linux 12 (bookworm)", "Kernel 6.1.0" */
    char kernel[128], arch[64], cpu[128];
    uint64_t memory_len;
    uint32_t core_count, available_count, page_len;
};
void host_info(struct host_info *out);

struct process_info {
    uint64_t pid;
    uint64_t resident_len, virtual_len;
    uint64_t page_faults, user_us, system_us, max_resident_len;
};
void process_info(struct process_info *out);

#endif
