/* What both benchmarks share: clock, chance, result rows, peak memory, folder sizes.
 *
 * A row on standard output: name <TAB> value <TAB> unit <TAB> better ("more" or "less"). bench/run compares the rows of several engines. */
#ifndef ELMO_BENCH_BENCH_H
#define ELMO_BENCH_BENCH_H

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

static inline double bench_now(void) {
    struct timespec ts;
    (void) clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}

/* splitmix64 (Steele, Lea and Flood, 2014): the same sequence for every engine. */
static inline uint64_t bench_random(uint64_t *s) {
    uint64_t z = (*s += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline void bench_row(const char *name, double value, const char *unit, const char *better) {
    printf("%s\t%.6g\t%s\t%s\n", name, value, unit, better);
    fflush(stdout);
}

static inline void bench_rate(const char *name, double count, double seconds) {
    bench_row(name, count / seconds, "per second", "more");
}

static inline void bench_fail(const char *what, const char *why) {
    fprintf(stderr, "bench: %s: %s\n", what, why);
    exit(1);
}

static inline double bench_peak_mb(void) {
    struct rusage u;
    (void) getrusage(RUSAGE_SELF, &u);
    return (double) u.ru_maxrss / 1024;
}

/* Bytes of the files in a folder and in those one level below. */
static inline double bench_folder_mb(const char *path) {
    double total = 0;
    char name[1024];
    struct stat st;
    DIR *dir = opendir(path);
    if (dir == NULL) return 0;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        if (snprintf(name, sizeof(name), "%s/%s", path, e->d_name) >= (int) sizeof(name) || stat(name, &st) != 0)
            continue;
        total += S_ISDIR(st.st_mode) ? bench_folder_mb(name) : (double) st.st_blocks * 512 / 1e6;
    }
    (void) closedir(dir);
    return total;
}

#endif
