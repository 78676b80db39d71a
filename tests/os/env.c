/* The contract of os/env.h, held against every env: real files in a fresh directory, files in memory, the
 * simulated machine while nothing goes wrong. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/chance.h"
#include "os/env.h"
#include "os/env_sim.h"
#include "os/thread.h"
#include "support/mem_fail.h"

enum kind { POSIX, MEMORY, SIMULATED, KIND_COUNT };

struct place {
    struct env *env;
    char dir[64];
};

static void open_place(struct place *pl, int kind, const struct mem *mem) {
    struct err err = ERR_INIT;
    strcpy(pl->dir, "/tmp/elmo-env-XXXXXX");
    cr_assert_not_null(mkdtemp(pl->dir));
    struct sim *sim = NULL;
    status st = kind == POSIX ? env_posix_new(mem, &pl->env, &err)
        : kind == MEMORY      ? env_memory_new(mem, &pl->env, &err)
                              : sim_new(mem, 1, &sim, &err);
    cr_assert_eq(st, ST_OK, "%s", err.text);
    if (sim != NULL) pl->env = sim_env(sim);
}

static void close_place(struct place *pl) {
    char command[128];
    env_free(pl->env);
    snprintf(command, sizeof(command), "rm -rf %s", pl->dir);
    cr_assert_eq(system(command), 0);
}

static const char *in(struct place *pl, const char *name) {
    static _Thread_local char path[4][128];
    static _Thread_local int turn;
    char *p = path[turn++ & 3];
    snprintf(p, 128, "%s/%s", pl->dir, name);
    return p;
}

static struct file *must_open(struct place *pl, const char *name, unsigned flags) {
    struct file *f = NULL;
    struct err err = ERR_INIT;
    cr_assert_eq(env_open(pl->env, in(pl, name), flags, &f, &err), ST_OK, "%s", err.text);
    return f;
}

static uint64_t size_of(struct file *f) {
    uint64_t len = 0;
    cr_assert_eq(f->ops->size(f, &len, NULL), ST_OK);
    return len;
}

#define EACH_ENV(name)                                                                                                 \
    ParameterizedTestParameters(env, name) {                                                                           \
        static int kinds[KIND_COUNT] = {POSIX, MEMORY, SIMULATED};                                                     \
        return cr_make_param_array(int, kinds, KIND_COUNT);                                                            \
    }                                                                                                                  \
    ParameterizedTest(int *kind, env, name)

EACH_ENV(reads_what_was_written_and_refuses_a_short_read) {
    struct place pl;
    open_place(&pl, *kind, mem_default());
    struct file *f = must_open(&pl, "a", FILE_CREATE);
    char back[8] = {0};
    cr_expect_eq(file_write(f, 100000, "hello", 5, NULL), ST_OK);
    cr_expect_eq(size_of(f), 100005);
    cr_expect_eq(file_read(f, 100000, back, 5, NULL), ST_OK);
    cr_expect_str_eq(back, "hello");
    cr_expect_eq(file_read(f, 5, back, 5, NULL), ST_OK);
    cr_expect(memcmp(back, "\0\0\0\0\0", 5) == 0, "a hole reads as zeros");
    struct err err = ERR_INIT;
    cr_expect_eq(file_read(f, 100001, back, 5, &err), ST_CORRUPT);
    cr_expect(strstr(err.text, "short read") != NULL && strstr(err.text, pl.dir) != NULL, "%s", err.text);
    cr_expect_eq(file_read(f, UINT64_MAX / 4, back, 5, NULL), ST_CORRUPT);
    cr_expect_eq(file_sync(f, NULL), ST_OK);
    cr_expect_eq(f->ops->truncate(f, 100002, NULL), ST_OK);
    cr_expect_eq(f->ops->truncate(f, 100010, NULL), ST_OK);
    cr_expect_eq(file_read(f, 100000, back, 8, NULL), ST_OK);
    cr_expect(memcmp(back, "he\0\0\0\0\0\0", 8) == 0, "what was cut off does not come back");
    cr_expect_eq(f->ops->preallocate(f, 100010, 5000, NULL), ST_OK);
    cr_expect_eq(size_of(f), 105010);
    cr_expect_eq(f->ops->preallocate(f, 0, 5000, NULL), ST_OK);
    cr_expect_eq(size_of(f), 105010);
    f->ops->will_need(f, 0, 4096);
    file_close(f);
    close_place(&pl);
}

EACH_ENV(obeys_the_flags_of_open) {
    struct place pl;
    open_place(&pl, *kind, mem_default());
    struct file *f = NULL;
    struct err err = ERR_INIT;
    cr_expect_eq(env_open(pl.env, in(&pl, "a"), 0, &f, &err), ST_NOT_FOUND);
    cr_expect_eq(err.st, ST_OK, "an answer writes no error");
    f = must_open(&pl, "a", FILE_CREATE | FILE_EXCLUSIVE);
    cr_expect_eq(file_write(f, 0, "abc", 3, NULL), ST_OK);
    file_close(f);
    cr_expect_eq(env_open(pl.env, in(&pl, "a"), FILE_CREATE | FILE_EXCLUSIVE, &f, &err), ST_DUPLICATE);
    f = must_open(&pl, "a", FILE_READ_ONLY);
    cr_expect_eq(size_of(f), 3);
    cr_expect_eq(file_write(f, 0, "x", 1, &err), ST_IO);
    cr_expect_eq(f->ops->truncate(f, 0, &err), ST_IO);
    file_close(f);
    f = must_open(&pl, "a", FILE_CREATE | FILE_TRUNCATE);
    cr_expect_eq(size_of(f), 0);
    file_close(f);
    close_place(&pl);
}

EACH_ENV(locks_among_opens_of_one_process) {
    struct place pl;
    open_place(&pl, *kind, mem_default());
    struct file *a = must_open(&pl, "a", FILE_CREATE), *b = must_open(&pl, "a", 0);
    struct file *c = must_open(&pl, "a", FILE_READ_ONLY);
    struct err err = ERR_INIT;
    cr_expect_eq(a->ops->lock(a, FILE_LOCK_EXCLUSIVE, &err), ST_OK, "%s", err.text);
    cr_expect_eq(a->ops->lock(a, FILE_LOCK_EXCLUSIVE, &err), ST_OK, "one's own lock is no hindrance");
    cr_expect_eq(b->ops->lock(b, FILE_LOCK_EXCLUSIVE, &err), ST_BUSY);
    cr_expect_eq(c->ops->lock(c, FILE_LOCK_SHARED, &err), ST_BUSY);
    file_close(must_open(&pl, "a", FILE_READ_ONLY)); /* closing another open does not release it */
    cr_expect_eq(b->ops->lock(b, FILE_LOCK_EXCLUSIVE, &err), ST_BUSY);
    file_close(a);
    cr_expect_eq(b->ops->lock(b, FILE_LOCK_SHARED, &err), ST_OK);
    cr_expect_eq(c->ops->lock(c, FILE_LOCK_SHARED, &err), ST_OK);
    cr_expect_eq(b->ops->lock(b, FILE_LOCK_EXCLUSIVE, &err), ST_BUSY);
    file_close(c);
    cr_expect_eq(b->ops->lock(b, FILE_LOCK_EXCLUSIVE, &err), ST_OK);
    file_close(b);
    close_place(&pl);
}

struct names {
    int count;
    char all[16][32];
};

static status note_name(void *ctx, const char *name) {
    struct names *n = ctx;
    if (n->count == 16) return ST_END;
    snprintf(n->all[n->count++], 32, "%s", name);
    return ST_OK;
}

static bool has(const struct names *n, const char *name) {
    for (int i = 0; i < n->count; i++)
        if (strcmp(n->all[i], name) == 0) return true;
    return false;
}

EACH_ENV(renames_unlinks_and_lists) {
    struct place pl;
    open_place(&pl, *kind, mem_default());
    struct file *a = must_open(&pl, "a", FILE_CREATE), *b = must_open(&pl, "b", FILE_CREATE), *f;
    cr_expect_eq(file_write(a, 0, "a", 1, NULL), ST_OK);
    cr_expect_eq(file_write(b, 0, "bb", 2, NULL), ST_OK);
    cr_expect_eq(pl.env->ops->rename(pl.env, in(&pl, "a"), in(&pl, "b"), NULL), ST_OK);
    cr_expect_eq(pl.env->ops->sync_dir(pl.env, in(&pl, "b"), NULL), ST_OK);
    f = must_open(&pl, "b", 0);
    cr_expect_eq(size_of(f), 1, "the file that was renamed is found under the new name");
    cr_expect_eq(size_of(b), 2, "the one that it replaced lives on for those who have it open");
    file_close(f);
    cr_expect_eq(env_open(pl.env, in(&pl, "a"), 0, &f, NULL), ST_NOT_FOUND);
    cr_expect_eq(pl.env->ops->unlink(pl.env, in(&pl, "a"), NULL), ST_NOT_FOUND);
    file_close(must_open(&pl, "c", FILE_CREATE));
    struct names n = {0};
    cr_expect_eq(pl.env->ops->list_dir(pl.env, in(&pl, "x"), note_name, &n, NULL), ST_OK);
    cr_expect(n.count == 2 && has(&n, "b") && has(&n, "c"));
    cr_expect_eq(pl.env->ops->unlink(pl.env, in(&pl, "b"), NULL), ST_OK);
    cr_expect_eq(size_of(a), 1, "unlinked but open");
    file_close(a);
    file_close(b);
    struct err err = ERR_INIT;
    cr_expect_eq(pl.env->ops->rename(pl.env, in(&pl, "gone"), in(&pl, "b"), &err), ST_IO);
    close_place(&pl);
}

Test(env, real_path_resolves_links_even_dangling_ones) {
    struct place pl;
    open_place(&pl, POSIX, mem_default());
    char *real = NULL, want[160], cwd[512];
    struct err err = ERR_INIT;
    cr_assert_eq(mkdir(in(&pl, "d"), 0700), 0);
    cr_assert_eq(symlink("d", in(&pl, "link")), 0);
    cr_assert_eq(symlink("../new.elmo", in(&pl, "d/dangling")), 0);
    cr_assert_eq(symlink("loop", in(&pl, "loop")), 0);
    snprintf(want, sizeof(want), "%s/d/x.elmo", pl.dir);
    cr_assert_eq(pl.env->ops->real_path(pl.env, in(&pl, "link/x.elmo"), &real, &err), ST_OK, "%s", err.text);
    cr_expect_str_eq(real, want);
    mem_free(mem_default(), real, strlen(real) + 1);
    snprintf(want, sizeof(want), "%s/new.elmo", pl.dir);
    cr_assert_eq(pl.env->ops->real_path(pl.env, in(&pl, "link/dangling"), &real, &err), ST_OK, "%s", err.text);
    cr_expect_str_eq(real, want);
    mem_free(mem_default(), real, strlen(real) + 1);
    cr_expect_eq(pl.env->ops->real_path(pl.env, in(&pl, "loop"), &real, &err), ST_IO);
    cr_expect_eq(pl.env->ops->real_path(pl.env, in(&pl, "no/such"), &real, &err), ST_IO);
    cr_assert_not_null(getcwd(cwd, sizeof(cwd)));
    cr_assert_eq(pl.env->ops->real_path(pl.env, "bare.elmo", &real, &err), ST_OK, "%s", err.text);
    cr_expect(strncmp(real, cwd, strlen(cwd)) == 0 && strstr(real, "/bare.elmo") != NULL, "%s", real);
    mem_free(mem_default(), real, strlen(real) + 1);
    close_place(&pl);
}

Test(env, errors_carry_the_path_and_the_systems_text) {
    struct place pl;
    open_place(&pl, POSIX, mem_default());
    struct file *f;
    struct err err = ERR_INIT;
    cr_expect_eq(env_open(pl.env, in(&pl, "no/such"), FILE_CREATE, &f, &err), ST_IO);
    cr_expect(strstr(err.text, "no/such") != NULL && strstr(err.text, "No such file") != NULL, "%s", err.text);
    f = NULL;
    if (access("/dev/full", W_OK) == 0 && env_open(pl.env, "/dev/full", 0, &f, &err) == ST_OK) {
        cr_expect_eq(file_write(f, 0, "x", 1, &err), ST_NO_SPACE);
        file_close(f);
    }
    close_place(&pl);
}

EACH_ENV(agrees_with_an_array_of_bytes) {
    enum { LEN = 300000, ROUNDS = 600 };
    static uint8_t model[LEN], buf[LEN];
    struct place pl;
    open_place(&pl, *kind, mem_default());
    struct file *f = must_open(&pl, "a", FILE_CREATE);
    struct chance c;
    uint64_t seed = 7, len = 0;
    chance_init(&c, seed);
    memset(model, 0, sizeof(model));
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t at = chance_below(&c, LEN), n = chance_below(&c, chance_below(&c, 2) ? LEN - at : 100) + 1;
        if (at + n > LEN) n = LEN - at;
        switch (chance_below(&c, 4)) {
        case 0:
            for (uint64_t k = 0; k < n; k++) model[at + k] = (uint8_t) chance_next(&c);
            cr_assert_eq(file_write(f, at, model + at, n, NULL), ST_OK);
            if (at + n > len) len = at + n;
            break;
        case 1:
            cr_assert_eq(f->ops->truncate(f, at, NULL), ST_OK);
            if (at < len) memset(model + at, 0, len - at);
            len = at;
            break;
        default:
            if (at + n > len) {
                cr_assert_eq(file_read(f, at, buf, n, NULL), ST_CORRUPT, "seed %lu round %d", seed, i);
            } else {
                cr_assert_eq(file_read(f, at, buf, n, NULL), ST_OK);
                cr_assert(memcmp(buf, model + at, n) == 0, "seed %lu round %d", seed, i);
            }
        }
        cr_assert_eq(size_of(f), len);
    }
    file_close(f);
    close_place(&pl);
}

struct crowd {
    struct place *pl;
    int number;
    bool ok;
};

/* Each thread owns one range of a common file and reads its neighbour's. */
static void *read_and_write(void *ctx) {
    struct crowd *me = ctx;
    struct file *f = must_open(me->pl, "shared", 0);
    uint8_t mine[5000], back[5000];
    me->ok = true;
    for (int i = 0; i < 50; i++) {
        memset(mine, me->number * 50 + i, sizeof(mine));
        me->ok &= file_write(f, (uint64_t) me->number * sizeof(mine), mine, sizeof(mine), NULL) == ST_OK;
        me->ok &= file_read(f, (uint64_t) me->number * sizeof(mine), back, sizeof(back), NULL) == ST_OK;
        me->ok &= memcmp(mine, back, sizeof(mine)) == 0;
        struct file *own;
        char name[16];
        snprintf(name, sizeof(name), "own%d", me->number);
        own = must_open(me->pl, name, FILE_CREATE);
        me->ok &= file_write(own, 0, mine, 10, NULL) == ST_OK;
        file_close(own);
        me->ok &= me->pl->env->ops->unlink(me->pl->env, in(me->pl, name), NULL) == ST_OK;
    }
    file_close(f);
    return NULL;
}

EACH_ENV(serves_several_threads) {
    struct place pl;
    open_place(&pl, *kind, mem_default());
    file_close(must_open(&pl, "shared", FILE_CREATE));
    struct thread t[4];
    struct crowd crowd[4];
    for (int i = 0; i < 4; i++) {
        crowd[i] = (struct crowd){&pl, i, false};
        cr_assert_eq(thread_start(&t[i], read_and_write, &crowd[i], NULL), ST_OK);
    }
    for (int i = 0; i < 4; i++) {
        thread_join(&t[i]);
        cr_expect(crowd[i].ok);
    }
    close_place(&pl);
}

EACH_ENV(survives_every_failed_allocation) {
    for (uint64_t n = 1;; n++) {
        struct mem_fail mf;
        struct place pl;
        struct file *f = NULL;
        struct names names = {0};
        char *real = NULL;
        mem_fail_init(&mf, 0);
        open_place(&pl, *kind, &mf.mem);
        mf.fail_at = mf.count + n;
        status st = env_open(pl.env, in(&pl, "a"), FILE_CREATE, &f, NULL);
        if (st == ST_OK) st = file_write(f, 70000, "x", 1, NULL);
        if (st == ST_OK) st = pl.env->ops->rename(pl.env, in(&pl, "a"), in(&pl, "b"), NULL);
        if (st == ST_OK) st = pl.env->ops->list_dir(pl.env, in(&pl, "a"), note_name, &names, NULL);
        if (st == ST_OK) st = pl.env->ops->real_path(pl.env, in(&pl, "b"), &real, NULL);
        cr_assert(st == ST_OK || st == ST_NOMEM);
        bool hit = mem_fail_hit(&mf);
        cr_assert_eq(st == ST_OK, !hit);
        if (real != NULL) mem_free(&mf.mem, real, strlen(real) + 1);
        file_close(f);
        close_place(&pl);
        cr_assert_eq(mem_fail_live(&mf), 0);
        if (!hit) break;
    }
}

static void *set_flag(void *ctx) {
    *(bool *) ctx = true;
    return NULL;
}

Test(env, threads_start_join_and_time_out) {
    struct mutex m;
    struct cond c;
    struct thread t = {0};
    bool ran = false;
    thread_join(&t);
    cr_assert_eq(mutex_init(&m, NULL), ST_OK);
    cr_assert_eq(cond_init(&c, NULL), ST_OK);
    mutex_lock(&m);
    cr_expect_not(cond_wait_ms(&c, &m, 1), "nobody signals");
    mutex_unlock(&m);
    cr_assert_eq(thread_start(&t, set_flag, &ran, NULL), ST_OK);
    thread_join(&t);
    cr_expect(ran);
    cond_release(&c);
    mutex_release(&m);
}

Test(env, tells_time_chance_and_who_runs) {
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        struct place pl;
        uint8_t a[32], b[32];
        char who[64];
        open_place(&pl, kind, mem_default());
        pl.env->ops->random(pl.env, a, sizeof(a));
        pl.env->ops->random(pl.env, b, sizeof(b));
        cr_expect(memcmp(a, b, sizeof(a)) != 0);
        uint64_t t = pl.env->ops->monotonic_ns(pl.env);
        cr_expect_geq(pl.env->ops->monotonic_ns(pl.env), t);
        cr_expect_gt(pl.env->ops->now_ms(pl.env), 1600000000000u);
        pl.env->ops->process_name(pl.env, who, sizeof(who));
        cr_expect(strncmp(who, "pid ", 4) == 0, "%s", who);
        close_place(&pl);
    }
}
