/* fsync, fsyncUnlock and compact: the file. */
#include "base/codes.h"
#include "command/fields.h"
#include "command/requests.h"
#include "doc/db.h"

struct fsync_body {
    bool lock;
};

static status run_fsync(struct command_call *call, struct err *err) {
    static const struct field fields[] = {{"fsync", FIELD_IGNORED, 0, FIELD_REQUIRED},
                                          {"lock", FIELD_BOOL, offsetof(struct fsync_body, lock), 0},
                                          {"fsyncLockAcquisitionTimeoutMillis", FIELD_IGNORED, 0, 0},
                                          {"async", FIELD_IGNORED, 0, 0}};
    struct fsync_body cmd = {0};
    TRY(fields_parse("fsync", call->body, fields, sizeof(fields) / sizeof(fields[0]), true, &cmd, err));
    if (cmd.lock)
        return RAISE(err, ST_UNSUPPORTED,
                     "fsync with lock is not supported: a backup needs none, it may be taken while others write");
    TRY(kv_sync(db_kv(call->env->db), err));
    bbuild_int32(call->reply, "numFiles", 1);
    return ST_OK;
}

static status run_unlock(struct command_call *call, struct err *err) {
    (void) call;
    return RAISE_CODE(err, CODE_IllegalOperation, "fsyncUnlock called when not locked");
}

struct compact {
    struct slice collection;
};

/* The file is one for all collections, so all of it is compacted. */
static status run_compact(struct command_call *call, struct err *err) {
    static const struct field fields[] = {
        {"compact", FIELD_NAME, offsetof(struct compact, collection), FIELD_REQUIRED},
        {"force", FIELD_IGNORED, 0, 0},
    };
    struct command_env *env = call->env;
    struct compact cmd = {0};
    struct ns ns;
    struct kv_txn *txn = NULL;
    struct collection *c = NULL;
    struct storage_stat before = {0}, after = {0};
    TRY(fields_parse("compact", call->body, fields, sizeof(fields) / sizeof(fields[0]), true, &cmd, err));
    TRY(command_ns(call, cmd.collection, true, &ns, err));
    TRY(command_begin_read(call->op, &txn, err));
    status st = catalog_find(call->op, txn, ns, &c, err);
    command_end_read(call->op, txn);
    collection_unref(c);
    if (st == ST_NOT_FOUND) return RAISE_CODE(err, CODE_NamespaceNotFound, "collection does not exist");
    TRY(st);
    if (env->storage_compact == NULL) return RAISE(err, ST_UNSUPPORTED, "compact is not supported");
    env->storage_stat(env->storage_ctx, &before);
    TRY(env->storage_compact(env->storage_ctx, err));
    env->storage_stat(env->storage_ctx, &after);
    bbuild_int64(call->reply, "bytesFreed",
                 before.used_len > after.used_len ? (int64_t) (before.used_len - after.used_len) : 0);
    return ST_OK;
}

const struct command command_fsync = {.name = "fsync",
                                      .flags = COMMAND_ADMIN_ONLY,
                                      .run = run_fsync,
                                      .access = ACCESS_BY_CLUSTER,
                                      .help = "Makes everything that was written durable."};
const struct command command_fsync_unlock = {.name = "fsyncUnlock",
                                             .flags = COMMAND_ADMIN_ONLY,
                                             .run = run_unlock,
                                             .access = ACCESS_BY_CLUSTER,
                                             .help = "There is no lock to release."};
const struct command command_compact = {.name = "compact",
                                        .flags = COMMAND_WRITES,
                                        .run = run_compact,
                                        .access = ACCESS_BY_DB_ADMIN,
                                        .help = "Compacts the file."};
