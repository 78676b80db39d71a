/* Reading and changing users; see users.h. */
#include "command/users.h"

#include <openssl/crypto.h>
#include <stdio.h>

#include "base/codes.h"
#include "bson/json_text.h"
#include "command/base64.h"
#include "command/fields.h"
#include "command/roles.h"
#include "doc/db.h"
#include "doc/scan.h"
#include "doc/write.h"
#include "query/retry.h"

#define USERS_NS ((struct ns){SLICE_LIT("admin"), SLICE_LIT("system.users")})

status users_new(struct env *env, const struct mem *mem, struct users **out, struct err *err) {
    struct users *u = mem_new(mem, struct users);
    if (u == NULL) return RAISE(err, ST_NOMEM, "no memory for the users");
    u->env = env;
    u->mem = mem;
    atomic_init(&u->version, 1);
    status st = env->ops->secret(env, u->secret, sizeof(u->secret), err);
    if (st == ST_OK) st = mutex_init(&u->change_lock, err);
    if (st == ST_OK) {
        st = auth_delay_init(&u->delay, env, err);
        if (st != ST_OK) mutex_release(&u->change_lock);
    }
    if (st == ST_OK) *out = u;
    else mem_delete(mem, u);
    return st;
}

void users_free(struct users *u) {
    if (u == NULL) return;
    auth_delay_release(&u->delay);
    mutex_release(&u->change_lock);
    OPENSSL_cleanse(u->secret, sizeof(u->secret));
    mem_delete(u->mem, u);
}

/* --- reading --- */

/* "db.user", as a string value. */
static status user_id(struct op *op, struct user_name name, struct bval *id, struct err *err) {
    size_t len = name.db.len + 1 + name.user.len;
    uint8_t *p = arena_alloc(&op->arena, len + 5);
    if (p == NULL) return RAISE(err, ST_NOMEM, "no memory for a user's name");
    put_le32(p, (uint32_t) len + 1);
    memcpy(p + 4, name.db.p, name.db.len);
    p[4 + name.db.len] = '.';
    memcpy(p + 5 + name.db.len, name.user.p, name.user.len);
    p[len + 4] = 0;
    *id = (struct bval){p, (uint32_t) len + 5, B_STRING};
    return ST_OK;
}

/* A reading transaction of its own and the collection in it, or ST_NOT_FOUND. end_read ends both. */
static status begin_read(struct op *op, struct kv_txn **txn, struct collection **c, struct err *err) {
    *txn = NULL;
    *c = NULL;
    TRY(db_begin(op->db, true, txn, err));
    status st = catalog_find(op, *txn, USERS_NS, c, err);
    if (st != ST_OK) {
        kv_abort(*txn);
        *txn = NULL;
        *c = NULL;
    }
    return st;
}

static void end_read(struct kv_txn *txn, struct collection *c) {
    collection_unref(c);
    kv_abort(txn);
}

/* In the transaction; the copy is in the op's arena. */
static status get_user(struct op *op, struct kv_txn *txn, struct collection *c, struct user_name name, struct bdoc *doc,
                       struct err *err) {
    struct bval id;
    struct buf scratch;
    struct kv_value value = {0};
    TRY(user_id(op, name, &id, err));
    buf_init(&scratch, op->mem);
    status st = record_get(txn, c, id, &scratch, &value, err);
    if (st == ST_OK) {
        const uint8_t *copy = arena_copy(&op->arena, value.bytes.p, value.bytes.len);
        if (copy != NULL) *doc = (struct bdoc){copy, (uint32_t) value.bytes.len};
        else st = RAISE(err, ST_NOMEM, "no memory for a user");
    }
    kv_value_release(&value);
    buf_release(&scratch);
    return st;
}

status user_read(struct op *op, struct user_name name, struct bdoc *doc, struct err *err) {
    struct kv_txn *txn;
    struct collection *c;
    if (name.user.len > USER_NAME_LEN_MAX || name.db.len > USER_NAME_LEN_MAX) return ST_NOT_FOUND;
    TRY(begin_read(op, &txn, &c, err));
    status st = get_user(op, txn, c, name, doc, err);
    end_read(txn, c);
    return st;
}

static status each_in(struct op *op, struct kv_txn *txn, struct collection *c,
                      status (*visit)(void *ctx, struct bdoc doc, struct err *err), void *ctx, struct err *err) {
    struct record_scan *scan;
    struct bdoc doc;
    TRY(record_scan_open(op, txn, c, SLICE_NONE, SLICE_NONE, false, &scan, err));
    status st;
    while ((st = record_scan_next(scan, &doc, err)) == ST_OK) {
        if ((st = visit(ctx, doc, err)) != ST_OK) break;
        if ((st = op_check(op, err)) != ST_OK) break;
    }
    record_scan_close(scan);
    return st == ST_END ? ST_OK : st;
}

status users_each(struct op *op, status (*visit)(void *ctx, struct bdoc doc, struct err *err), void *ctx,
                  struct err *err) {
    struct kv_txn *txn;
    struct collection *c;
    status st = begin_read(op, &txn, &c, err);
    if (st == ST_NOT_FOUND) return ST_OK;
    TRY(st);
    st = each_in(op, txn, c, visit, ctx, err);
    end_read(txn, c);
    return st;
}

static status see_one(void *ctx, struct bdoc doc, struct err *err) {
    (void) doc, (void) err;
    *(bool *) ctx = true;
    return ST_END;
}

status users_exist(struct users *u, struct op *op, bool *exist, struct err *err) {
    uint64_t version = atomic_load_explicit(&u->version, memory_order_acquire);
    *exist = atomic_load_explicit(&u->was_seen, memory_order_relaxed);
    if (*exist || atomic_load_explicit(&u->empty_at, memory_order_relaxed) == version) return ST_OK;
    TRY(users_each(op, see_one, exist, err));
    if (*exist) atomic_store_explicit(&u->was_seen, true, memory_order_relaxed);
    else atomic_store_explicit(&u->empty_at, version, memory_order_relaxed);
    return ST_OK;
}

/* --- changing --- */

static status begin_change(struct op *op, struct kv_txn **txn, struct collection **c, struct err *err) {
    *c = NULL;
    TRY(db_begin(op->db, false, txn, err));
    status st = catalog_find(op, *txn, USERS_NS, c, err);
    if (st == ST_NOT_FOUND) {
        *c = NULL;
        st = catalog_create(op, *txn, USERS_NS, bdoc_empty, c, err);
    }
    if (st == ST_OK) st = collection_lock(op, *txn, *c, err);
    if (st == ST_OK) return ST_OK;
    collection_unref(*c);
    kv_abort(*txn);
    return st;
}

static status end_change(struct kv_txn *txn, struct collection *c, status st, struct err *err) {
    collection_unref(c);
    if (st == ST_OK) return kv_commit(txn, KV_SYNC, err);
    kv_abort(txn);
    return st;
}

struct one_change {
    struct user_name name;
    const struct user_change *change;
};

static status change_one(struct op *op, struct kv_txn *txn, struct collection *c, void *ctx, struct err *err) {
    const struct one_change *one = ctx;
    struct bdoc old_doc = {0}, made = {0}, new_doc = {0};
    struct buf out, prepared;
    status st = get_user(op, txn, c, one->name, &old_doc, err);
    if (st != ST_NOT_FOUND) TRY(st);
    buf_init(&out, op->mem);
    buf_init(&prepared, op->mem);
    TRY_OUT(one->change->change(one->change->ctx, old_doc, &out, &made, err));
    if (made.p != NULL) TRY_OUT(collection_prepare(op, made, &prepared, &new_doc, err));
    TRY_OUT(collection_write(op, txn, c, old_doc, new_doc, NULL, err));
out:
    if (out.p != NULL) OPENSSL_cleanse(out.p, out.cap);
    if (prepared.p != NULL) OPENSSL_cleanse(prepared.p, prepared.cap);
    buf_release(&prepared);
    buf_release(&out);
    return st;
}

/* `run` in a transaction, again after a conflict; then what others remember of users is out of date, whatever became of it. */
static status change_users(struct command_call *call,
                           status (*run)(struct op *, struct kv_txn *, struct collection *, void *, struct err *),
                           void *ctx, struct err *err) {
    struct users *u = call->env->users;
    struct retry retry = {0};
    status st;
    mutex_lock(&u->change_lock);
    for (;;) {
        struct kv_txn *txn;
        struct collection *c;
        st = begin_change(call->op, &txn, &c, err);
        if (st == ST_OK) st = end_change(txn, c, run(call->op, txn, c, ctx, err), err);
        if (!retry_is_transient(st)) break;
        if ((st = retry_wait(&retry, call->op, st, err)) != ST_OK) break;
    }
    atomic_fetch_add_explicit(&u->version, 1, memory_order_acq_rel);
    mutex_unlock(&u->change_lock);
    return st;
}

status user_change(struct command_call *call, struct user_name name, const struct user_change *change,
                   struct err *err) {
    struct one_change one = {name, change};
    return change_users(call, change_one, &one, err);
}

struct removal {
    struct op *op;
    struct kv_txn *txn;
    struct collection *c;
    struct slice db;
    int64_t count;
};

static status remove_user(void *ctx, struct bdoc doc, struct err *err) {
    struct removal *r = ctx;
    struct bval db = bdoc_get_str(doc, "db");
    if (db.type != B_STRING || !slice_equal(bval_string(db), r->db)) return ST_OK;
    const uint8_t *copy = arena_copy(&r->op->arena, doc.p, doc.len);
    if (copy == NULL) return RAISE(err, ST_NOMEM, "no memory for a user");
    r->count++;
    return collection_write(r->op, r->txn, r->c, (struct bdoc){copy, doc.len}, (struct bdoc){0}, NULL, err);
}

static status remove_of_database(struct op *op, struct kv_txn *txn, struct collection *c, void *ctx, struct err *err) {
    struct removal *r = ctx;
    r->op = op;
    r->txn = txn;
    r->c = c;
    r->count = 0;
    return each_in(op, txn, c, remove_user, r, err);
}

status users_remove_all(struct command_call *call, struct slice db, int64_t *count, struct err *err) {
    struct removal r = {.db = db};
    TRY(change_users(call, remove_of_database, &r, err));
    *count = r.count;
    return ST_OK;
}

/* --- principals --- */

void principal_free(struct principal *p) {
    if (p == NULL) return;
    const struct mem *mem = p->mem;
    arena_release(&p->arena);
    mem_delete(mem, p);
}

/* The roles that stand in the document; what is no role (any more) is passed over. */
static status read_grants(struct principal *p, struct bdoc array, struct err *err) {
    p->granted = arena_array(&p->arena, struct granted, (size_t) bdoc_count(array) + 1);
    if (p->granted == NULL) return RAISE(err, ST_NOMEM, "no memory for a login");
    struct biter it = biter_of(array);
    struct belem e;
    while (biter_next(&it, &e)) {
        if (e.value.type != B_DOCUMENT) continue;
        struct bval name = bdoc_get_str(bval_doc(e.value), "role"), db = bdoc_get_str(bval_doc(e.value), "db");
        if (name.type != B_STRING || db.type != B_STRING) continue;
        const struct role *role = role_find(bval_string(name), bval_string(db));
        struct slice s = bval_string(db);
        const uint8_t *copy = arena_copy(&p->arena, s.p, s.len + 1);
        if (copy == NULL) return RAISE(err, ST_NOMEM, "no memory for a login");
        if (role != NULL) p->granted[p->granted_count++] = (struct granted){role, slice_of(copy, s.len)};
    }
    return ST_OK;
}

static status fill_principal(struct principal *p, struct bdoc doc, struct err *err) {
    struct bval user = bdoc_get_str(doc, "user"), db = bdoc_get_str(doc, "db"), id = bdoc_get_str(doc, "userId"),
                roles = bdoc_get_str(doc, "roles");
    if (user.type != B_STRING || db.type != B_STRING)
        return RAISE_CODE(err, CODE_AuthenticationFailed, "Authentication failed.");
    struct slice u = bval_string(user), d = bval_string(db);
    uint8_t *full = arena_alloc(&p->arena, u.len + d.len + 2);
    if (full == NULL) return RAISE(err, ST_NOMEM, "no memory for a login");
    memcpy(full, u.p, u.len);
    full[u.len] = '@';
    memcpy(full + u.len + 1, d.p, d.len);
    full[u.len + 1 + d.len] = 0;
    p->full = slice_of(full, u.len + 1 + d.len);
    uint8_t *full_name = arena_alloc(&p->arena, u.len + d.len + 1);
    if (full_name == NULL) return RAISE(err, ST_NOMEM, "no memory for a login");
    memcpy(full_name, d.p, d.len);
    full_name[d.len] = '.';
    memcpy(full_name + d.len + 1, u.p, u.len);
    p->full_name = slice_of(full_name, d.len + 1 + u.len);
    p->user = slice_of(full, u.len);
    p->db = slice_of(full + u.len + 1, d.len);
    if (id.type == B_BINARY && bval_binary(id).len == 16) memcpy(p->user_id, bval_binary(id).p, 16);
    return read_grants(p, roles.type == B_ARRAY ? bval_doc(roles) : bdoc_empty, err);
}

status principal_new(const struct mem *mem, struct bdoc doc, uint64_t version, struct principal **out,
                     struct err *err) {
    struct principal *p = mem_new(mem, struct principal);
    if (p == NULL) return RAISE(err, ST_NOMEM, "no memory for a login");
    p->mem = mem;
    p->version = version;
    arena_init(&p->arena, mem);
    status st = fill_principal(p, doc, err);
    if (st == ST_OK) *out = p;
    else principal_free(p);
    return st;
}

void client_set_principal(struct client *client, struct principal *p) {
    struct mutex *lock = &client->env->service.lock;
    mutex_lock(lock);
    struct principal *old = client->principal;
    client->principal = p;
    mutex_unlock(lock);
    principal_free(old);
}

status principal_refresh(const struct command_call *call, struct err *err) {
    struct client *client = call->client;
    struct users *u = call->env->users;
    struct principal *old = client->principal, *fresh = NULL;
    uint64_t version = atomic_load_explicit(&u->version, memory_order_acquire);
    struct bdoc doc;
    if (old == NULL || old->version == version) return ST_OK;
    status st = user_read(call->op, (struct user_name){old->user, old->db}, &doc, err);
    if (st == ST_OK) st = principal_new(client->mem, doc, version, &fresh, err);
    if (st == ST_OK && memcmp(fresh->user_id, old->user_id, sizeof(fresh->user_id)) != 0) {
        principal_free(fresh);
        fresh = NULL;
        st = ST_NOT_FOUND;
    }
    if (st != ST_OK && st != ST_NOT_FOUND) return st;
    client_set_principal(client, fresh);
    return ST_OK;
}

/* --- credentials --- */

struct stored_credentials {
    int64_t iterations;
    struct slice salt, stored_key, server_key;
};

status user_credentials(struct bdoc doc, enum scram_mechanism m, struct scram_credentials *out) {
    static const struct field rows[] = {
        {"iterationCount", FIELD_INT64, offsetof(struct stored_credentials, iterations), FIELD_REQUIRED},
        {"salt", FIELD_STRING, offsetof(struct stored_credentials, salt), FIELD_REQUIRED},
        {"storedKey", FIELD_STRING, offsetof(struct stored_credentials, stored_key), FIELD_REQUIRED},
        {"serverKey", FIELD_STRING, offsetof(struct stored_credentials, server_key), FIELD_REQUIRED},
    };
    struct stored_credentials c = {0};
    size_t salt_len, stored_len, server_len;
    struct bval all = bdoc_get_str(doc, "credentials");
    if (all.type != B_DOCUMENT) return ST_NOT_FOUND;
    struct bval one = bdoc_get_str(bval_doc(all), scram_name(m));
    if (one.type != B_DOCUMENT || fields_parse("credentials", bval_doc(one), rows, 4, false, &c, NULL) != ST_OK)
        return ST_NOT_FOUND;
    if (c.iterations < 1 || c.iterations > SCRAM_ITERATIONS_MAX) return ST_NOT_FOUND;
    if (!base64_read(c.salt, out->salt, sizeof(out->salt), &salt_len) ||
        !base64_read(c.stored_key, out->stored_key, sizeof(out->stored_key), &stored_len) ||
        !base64_read(c.server_key, out->server_key, sizeof(out->server_key), &server_len) ||
        stored_len != scram_hash_len(m) || server_len != scram_hash_len(m))
        return ST_NOT_FOUND;
    out->iterations = (uint32_t) c.iterations;
    out->salt_len = (uint32_t) salt_len;
    return ST_OK;
}

static void append_base64(struct bbuild *b, const char *name, const uint8_t *p, size_t len) {
    char text[BASE64_LEN(SCRAM_SALT_LEN_MAX) + 8];
    struct buf out = {.p = (uint8_t *) text, .cap = sizeof(text), .cap_max = sizeof(text)}; /* never grows */
    base64_append(&out, slice_of(p, len));
    bbuild_slice(b, name, buf_slice(&out));
    OPENSSL_cleanse(text, sizeof(text));
}

void credentials_append(struct bbuild *b, enum scram_mechanism m, const struct scram_credentials *c) {
    struct bbuild one = bbuild_open_doc(b, slice_str(scram_name(m)));
    bbuild_int32(&one, "iterationCount", (int32_t) c->iterations);
    append_base64(&one, "salt", c->salt, c->salt_len);
    append_base64(&one, "storedKey", c->stored_key, scram_hash_len(m));
    append_base64(&one, "serverKey", c->server_key, scram_hash_len(m));
    bbuild_close(&one);
}
