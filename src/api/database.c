/* Opening and closing a database, and commands. */
#include <stdio.h>
#include <string.h>

#include "api/handles.h"
#include "base/codes.h"
#include "command/auth.h"
#include "command/fields.h"
#include "doc/db.h"
#include "doc/session.h"
#include "storage/lsm.h"

#define VERSION_TEXT "0.1.0"
#define MB ((int64_t) 1024 * 1024)
#define SIZE_MB_MAX ((int64_t) 1024 * 1024 * 1024)

struct open_opts {
    bool create, read_only;
    struct slice sync, compression;
    int64_t cache_mb, write_buffer_mb, threads, file_mb_max;
};

static const struct field open_fields[] = {
    {"create", FIELD_BOOL, offsetof(struct open_opts, create), 0},
    {"readOnly", FIELD_BOOL, offsetof(struct open_opts, read_only), 0},
    {"sync", FIELD_STRING, offsetof(struct open_opts, sync), 0},
    {"cacheSizeMB", FIELD_COUNT, offsetof(struct open_opts, cache_mb), 0},
    {"writeBufferMB", FIELD_COUNT, offsetof(struct open_opts, write_buffer_mb), 0},
    {"compression", FIELD_STRING, offsetof(struct open_opts, compression), 0},
    {"threads", FIELD_COUNT, offsetof(struct open_opts, threads), 0},
    {"maxFileSizeMB", FIELD_COUNT, offsetof(struct open_opts, file_mb_max), 0},
};

const char *elmo_version(void) { return VERSION_TEXT; }

/* The position of `text` among the n names, `missing` when there is no text. */
static status choose(const char *option, struct slice text, const char *const *names, int n, int missing, int *out,
                     struct err *err) {
    *out = missing;
    if (text.p == NULL) return ST_OK;
    for (int i = 0; i < n; i++) {
        if (slice_equal(text, slice_str(names[i]))) {
            *out = i;
            return ST_OK;
        }
    }
    return RAISE_CODE(err, CODE_BadValue, "option '%s' must be one of \"%s\", \"%s\", \"%s\"; it is \"%.*s\"", option,
                      names[0], names[1], names[2], (int) text.len, (const char *) text.p);
}

static status check_mb(const char *option, int64_t mb, struct err *err) {
    if (mb <= SIZE_MB_MAX) return ST_OK;
    return RAISE_CODE(err, CODE_BadValue, "option '%s' is too large: %lld MB", option, (long long) mb);
}

static status parse_opts(const bson_t *opts, struct lsm_opts *out, struct err *err) {
    static const char *const syncs[] = {"full", "normal", "off"}, *const compressions[] = {"none", "lz4", "zstd"};
    struct open_opts o = {.create = true, .threads = LSM_THREADS_DEFAULT};
    struct bdoc doc;
    int sync = 0, compression = 0;
    TRY(api_document(opts, "the options of elmo_open", &doc, err));
    TRY(fields_parse("elmo_open", doc, open_fields, sizeof(open_fields) / sizeof(open_fields[0]), false, &o, err));
    TRY(choose("sync", o.sync, syncs, 3, LSM_SYNC_FULL, &sync, err));
    TRY(choose("compression", o.compression, compressions, 3, COMPRESS_LZ4, &compression, err));
    TRY(check_mb("cacheSizeMB", o.cache_mb, err));
    TRY(check_mb("writeBufferMB", o.write_buffer_mb, err));
    TRY(check_mb("maxFileSizeMB", o.file_mb_max, err));
    if (o.threads > 64)
        return RAISE_CODE(err, CODE_BadValue, "option 'threads' must be at most 64; it is %lld", (long long) o.threads);
    *out = (struct lsm_opts){
        .sync = (enum lsm_sync) sync,
        .read_only = o.read_only,
        .create = o.create && !o.read_only,
        .threads = (uint32_t) o.threads,
        .cache_bytes = (size_t) (o.cache_mb * MB),
        .memtable_bytes = (size_t) (o.write_buffer_mb * MB),
        .compression = (enum compression) compression,
        .no_compression = compression == COMPRESS_NONE,
        .file_len_max = (uint64_t) (o.file_mb_max * MB),
    };
    return ST_OK;
}

static void storage_stat_of(void *ctx, struct storage_stat *out) {
    struct elmo *db = ctx;
    struct lsm_kv_stat stat;
    lsm_kv_stat(db->kv, &stat);
    *out = (struct storage_stat){stat.file_len, stat.used_len, stat.free_len, db->is_in_memory};
}

static status compact_storage(void *ctx, struct err *err) {
    struct elmo *db = ctx;
    return lsm_kv_compact(db->kv, err);
}

static status open_storage(struct elmo *db, const char *path, struct lsm_opts *opts, struct err *err) {
    bool in_memory = path == NULL || strcmp(path, ":memory:") == 0;
    db->is_in_memory = in_memory;
    if (in_memory) {
        path = "/memory.elmo";
        opts->create = true;
        opts->sync = LSM_SYNC_OFF; /* there is nothing to survive */
        TRY(env_memory_new(db->mem, &db->env, err));
    } else {
        if (path[0] == '\0') return RAISE_CODE(err, CODE_BadValue, "the path of the database is empty");
        TRY(env_posix_new(db->mem, &db->env, err));
    }
    status st = lsm_kv_open(db->env, path, opts, &db->kv, err);
    if (st == ST_OK) st = db_open(db->env, db->kv, opts->read_only, db->mem, &db->document_db, err);
    if (st != ST_OK) {
        kv_close(db->kv);
        env_free(db->env);
    }
    return st;
}

/* Storage's messages tell the place inside of the file; here is known which file. */
static void name_the_file(const char *path, struct err *err) {
    char text[ERR_TEXT_LEN];
    if (path == NULL || strstr(err->text, path) != NULL) return;
    const char *name = strrchr(path, '/') != NULL ? strrchr(path, '/') + 1 : path;
    if (strstr(err->text, name) != NULL) return;
    (void) snprintf(text, sizeof(text), "%.150s: %.*s", path, (int) (sizeof(text) - 160), err->text);
    memcpy(err->text, text, sizeof(text));
}

static status open_database(const char *path, const bson_t *opts, const struct mem *mem, struct elmo **out,
                            struct err *err) {
    struct lsm_opts lsm;
    TRY(parse_opts(opts, &lsm, err));
    struct elmo *db = mem_new(mem, struct elmo);
    if (db == NULL) return RAISE(err, ST_NOMEM, "no memory for a database handle");
    db->mem = mem;
    atomic_init(&db->ref_count, 1);
    status st = open_storage(db, path, &lsm, err);
    if (st != ST_OK) {
        name_the_file(path, err);
        mem_delete(mem, db);
        return st;
    }
    db->command = (struct command_env){.db = db->document_db,
                                       .storage_stat = storage_stat_of,
                                       .storage_compact = compact_storage,
                                       .storage_ctx = db,
                                       .version = VERSION_TEXT};
    st = service_init(&db->command.service, db->env, mem, err);
    if (st == ST_OK) st = users_new(db->env, mem, &db->command.users, err);
    if (st == ST_OK) st = cursors_new(db->env, mem, &db->command.cursors, err);
    if (st == ST_OK) st = sessions_new(db->document_db, &db->command.sessions, err);
    if (st == ST_OK) db_upkeep_watch(db->document_db, db->command.sessions);
    if (st == ST_OK && lsm.threads != 0) st = db_upkeep_start(db->document_db, err);
    if (st != ST_OK) {
        elmo_unref(db);
        return st;
    }
    *out = db;
    return ST_OK;
}

bool api_open(const char *path, const bson_t *opts, const struct mem *mem, elmo_t **db, bson_error_t *error) {
    struct err err = ERR_INIT;
    *db = NULL;
    return api_answer(open_database(path, opts, mem, db, &err), &err, (struct bdoc){0}, NULL, error);
}

bool elmo_open(const char *path, const bson_t *opts, elmo_t **db, bson_error_t *error) {
    return api_open(path, opts, mem_default(), db, error);
}

void elmo_close(elmo_t *db) {
    if (db == NULL || atomic_load_explicit(&db->is_closed, memory_order_acquire)) return;
    api_run_close_hook(db);
    if (atomic_exchange_explicit(&db->is_closed, true, memory_order_acq_rel)) return;
    elmo_unref(db);
}

/* The command with the fields of opts after its own, in the op's arena; *session as api_session_of. */
static status join_body(struct op *op, const bson_t *command, const bson_t *opts, struct bdoc *body,
                        struct session **session, struct err *err) {
    struct bdoc more;
    struct buf buf;
    struct bbuild b;
    TRY(api_document(command, "the command", body, err));
    TRY(api_document(opts, "opts", &more, err));
    TRY(api_session_of(op, &more, session, err));
    if (bdoc_is_empty(more)) return ST_OK;
    buf_init(&buf, op->mem);
    bbuild_begin(&b, &buf);
    bbuild_elems(&b, *body);
    bbuild_elems(&b, more);
    struct bdoc all = bbuild_finish(&b);
    const uint8_t *p = all.p != NULL ? arena_copy(&op->arena, all.p, all.len) : NULL;
    buf_release(&buf);
    if (p == NULL) return RAISE(err, ST_NOMEM, "no memory for a command");
    *body = bdoc_of(p);
    return ST_OK;
}

bool elmo_command_with_opts(elmo_t *db, const char *db_name, const bson_t *command, const bson_t *opts, bson_t *reply,
                            bson_error_t *error) {
    struct err err = ERR_INIT;
    struct op op;
    struct buf buf;
    struct bdoc body, reply_doc = {0};
    struct session *session = NULL;
    status st = api_begin(db, &op, &err);
    buf_init(&buf, db->mem);
    if (st == ST_OK) st = join_body(&op, command, opts, &body, &session, &err);
    if (st == ST_OK)
        st = api_command(db, &op, session, slice_str(db_name != NULL ? db_name : ""), body, &buf, &reply_doc, &err);
    session_unref(session);
    if (st != ST_OK && reply_doc.p == NULL) reply_doc = command_failure(&buf, &err);
    bool ok = api_answer(st, &err, reply_doc, reply, error);
    buf_release(&buf);
    op_release(&op);
    return ok;
}

bool elmo_command_simple(elmo_t *db, const char *db_name, const bson_t *command, bson_t *reply, bson_error_t *error) {
    return elmo_command_with_opts(db, db_name, command, NULL, reply, error);
}
