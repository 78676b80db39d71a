/* Logging in and out: saslStart, saslContinue, logout, authenticate (X.509), and what hello says of it.
 *
 *            saslStart (or hello's speculativeAuthenticate)        saslContinue: the proof holds        saslContinue: an empty payload
 *   (none) ---------------------------------------> (challenged) ---------------------------> (proven) ---------------------------> (none)
 *                                                        |                                   skipEmptyExchange leaves the last step out
 *                                                        +--> (none) at any failure: 18 "Authentication failed."
 *
 * S1  A client has at most one conversation; a new saslStart ends the one under way.
 * S2  A user that does not exist, or has no credentials for the mechanism, goes the same way (scram_fake) and fails at the proof, after the same waits.
 * S3  What was proven against is compared with what is stored when the proof arrives: a password changed in between does not log in. */
#include <openssl/crypto.h>

#include "base/codes.h"
#include "bson/json_text.h"
#include "command/base64.h"
#include "command/fields.h"
#include "command/users.h"
#include "doc/db.h"

#define CONVERSATION_ID 1 /* one at a time: MongoDB's number */
#define PAYLOAD_LEN_MAX (SCRAM_MESSAGE_LEN_MAX / 3 * 4)
#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

struct auth_talk {
    const struct mem *mem;
    struct arena arena;
    struct scram_talk scram;
    struct slice db;
    bool skips_empty, is_fake;
    bool is_proven;              /* waits for the empty message */
    struct principal *principal; /* whom it logs in, when proven */
};

void auth_talk_free(struct auth_talk *talk) {
    if (talk == NULL) return;
    const struct mem *mem = talk->mem;
    principal_free(talk->principal);
    OPENSSL_cleanse(&talk->scram.credentials, sizeof(talk->scram.credentials));
    arena_release(&talk->arena);
    mem_delete(mem, talk);
}

static status login_failed(struct err *err) {
    return RAISE_CODE(err, CODE_AuthenticationFailed, "Authentication failed.");
}

static void end_talk(struct client *client) {
    auth_talk_free(client->talk);
    client->talk = NULL;
}

/* --- payloads: binary, or base64 in a string, and answered in kind --- */

static status read_payload(struct op *op, struct bval v, struct slice *out, struct err *err) {
    if (v.type == B_BINARY) {
        *out = bval_binary(v);
        return ST_OK;
    }
    if (v.type != B_STRING)
        return RAISE_CODE(err, CODE_TypeMismatch,
                          "BSON field 'payload' is the wrong type '%s', expected types '[string, binData]'",
                          btype_name(v.type));
    struct slice text = bval_string(v);
    size_t len;
    if (text.len > PAYLOAD_LEN_MAX) return login_failed(err);
    uint8_t *p = arena_alloc(&op->arena, text.len + 1);
    if (p == NULL) return RAISE(err, ST_NOMEM, "no memory for a login");
    if (!base64_read(text, p, text.len, &len)) return login_failed(err);
    *out = slice_of(p, len);
    return ST_OK;
}

static void append_answer(struct command_call *call, struct bbuild *reply, bool as_text, bool done,
                          struct slice payload) {
    bbuild_int32(reply, "conversationId", CONVERSATION_ID);
    bbuild_bool(reply, "done", done);
    if (!as_text) {
        bbuild_binary(reply, "payload", 0, payload);
        return;
    }
    struct buf text;
    buf_init(&text, call->op->mem);
    base64_append(&text, slice_of(payload.p, payload.len));
    if (text.failed) reply->buf->failed = true;
    bbuild_slice(reply, "payload", buf_slice(&text));
    buf_release(&text);
}

/* --- logging in --- */

/* The client becomes the principal, which is taken over. */
static status log_in(struct command_call *call, struct principal *p, struct err *err) {
    const struct principal *old = call->client->principal;
    if (old != NULL && !slice_equal(old->full, p->full)) {
        status st =
            RAISE_CODE(err, slice_equal(old->db, p->db) ? 5626701 : 5626702,
                       "Each client connection may only be authenticated once. Previously authenticated as: %.*s",
                       (int) old->full.len, (const char *) old->full.p);
        principal_free(p);
        return st;
    }
    call->op->user = SLICE_NONE; /* its names go */
    client_set_principal(call->client, p);
    return ST_OK;
}

/* The credentials that the proof is for, or fake ones (S2). */
static status find_credentials(struct command_call *call, struct auth_talk *talk, struct err *err) {
    struct scram_credentials fake;
    struct bdoc doc;
    const struct scram_talk *scram = &talk->scram;
    struct buf name;
    buf_init(&name, call->op->mem);
    buf_append_slice(&name, scram->user);
    buf_append_u8(&name, '@');
    buf_append_slice(&name, talk->db);
    status st = name.failed ? RAISE(err, ST_NOMEM, "no memory for a login") : ST_OK;
    /* Made for everybody: it takes the same time. */
    if (st == ST_OK) st = scram_fake(scram->mechanism, call->env->users->secret, buf_slice(&name), &fake, err);
    buf_release(&name);
    TRY(st);
    st = user_read(call->op, (struct user_name){scram->user, talk->db}, &doc, err);
    if (st == ST_OK) st = user_credentials(doc, scram->mechanism, &talk->scram.credentials);
    if (st == ST_NOT_FOUND) {
        talk->scram.credentials = fake;
        talk->is_fake = true;
        st = ST_OK;
    }
    scram_wipe(&fake);
    return st;
}

struct sasl_start {
    struct slice mechanism, db;
    struct bval payload;
    struct bdoc options;
};
struct sasl_options {
    bool skip_empty;
};

static const struct field start_fields[] = {
    {"saslStart", FIELD_IGNORED, 0, FIELD_REQUIRED},
    {"mechanism", FIELD_STRING, offsetof(struct sasl_start, mechanism), FIELD_REQUIRED},
    {"payload", FIELD_VALUE, offsetof(struct sasl_start, payload), FIELD_REQUIRED},
    {"db", FIELD_STRING, offsetof(struct sasl_start, db), 0},
    {"autoAuthorize", FIELD_IGNORED, 0, 0},
    {"options", FIELD_DOCUMENT, offsetof(struct sasl_start, options), 0},
};
static const struct field option_fields[] = {
    {"skipEmptyExchange", FIELD_BOOL, offsetof(struct sasl_options, skip_empty), 0},
};

static status fill_talk(struct command_call *call, struct auth_talk *talk, const struct sasl_start *cmd,
                        struct slice db, struct slice *answer, struct err *err) {
    struct sasl_options options = {0};
    enum scram_mechanism m;
    struct slice payload;
    uint8_t chance[SCRAM_NONCE_LEN];
    struct env *env = db_env(call->env->db);
    if (!scram_of_name(cmd->mechanism, &m))
        return RAISE_CODE(err, CODE_MechanismUnavailable,
                          "Received authentication for mechanism %.*s which is unknown or not enabled",
                          (int) cmd->mechanism.len, (const char *) cmd->mechanism.p);
    TRY(fields_parse("options", cmd->options, option_fields, COUNT(option_fields), false, &options, err));
    talk->skips_empty = options.skip_empty;
    const uint8_t *copy = arena_copy(&talk->arena, db.p, db.len + 1);
    if (copy == NULL) return RAISE(err, ST_NOMEM, "no memory for a login");
    talk->db = slice_of(copy, db.len);
    TRY(read_payload(call->op, cmd->payload, &payload, err));
    TRY(scram_begin(&talk->scram, &talk->arena, m, payload, err));
    TRY(find_credentials(call, talk, err));
    TRY(env->ops->secret(env, chance, sizeof(chance), err));
    return scram_challenge(&talk->scram, chance, answer, err);
}

/* Begins a conversation about a user of `db` and appends the challenge. */
static status start(struct command_call *call, struct bdoc body, bool generic, struct slice db, struct bbuild *reply,
                    struct err *err) {
    struct sasl_start cmd = {.options = bdoc_empty};
    struct slice answer;
    end_talk(call->client);
    TRY(fields_parse("saslStart", body, start_fields, COUNT(start_fields), generic, &cmd, err));
    struct auth_talk *talk = mem_new(call->client->mem, struct auth_talk);
    if (talk == NULL) return RAISE(err, ST_NOMEM, "no memory for a login");
    talk->mem = call->client->mem;
    arena_init(&talk->arena, talk->mem);
    status st = fill_talk(call, talk, &cmd, cmd.db.p != NULL && !generic ? cmd.db : db, &answer, err);
    if (st != ST_OK) {
        auth_talk_free(talk);
        return st;
    }
    append_answer(call, reply, cmd.payload.type == B_STRING, false, answer);
    call->client->talk = talk;
    return ST_OK;
}

static status run_start(struct command_call *call, struct err *err) {
    return start(call, call->body, true, call->db, call->reply, err);
}

const struct command command_sasl_start = {.name = "saslStart",
                                           .flags = COMMAND_UNLOGGED | COMMAND_NO_SESSION,
                                           .run = run_start,
                                           .access = ACCESS_ANYBODY,
                                           .help = "Begins to log in."};

/* --- saslContinue --- */

/* S3: who proved it must still be there, with the same credentials. */
static status still_stands(struct command_call *call, const struct auth_talk *talk, struct principal **out,
                           struct err *err) {
    struct scram_credentials now = {0};
    struct bdoc doc;
    const struct scram_credentials *then = &talk->scram.credentials;
    uint64_t version = atomic_load_explicit(&call->env->users->version, memory_order_acquire);
    size_t n = scram_hash_len(talk->scram.mechanism);
    status st = user_read(call->op, (struct user_name){talk->scram.user, talk->db}, &doc, err);
    if (st == ST_OK) st = user_credentials(doc, talk->scram.mechanism, &now);
    if (st == ST_OK && CRYPTO_memcmp(now.stored_key, then->stored_key, n) != 0) st = ST_NOT_FOUND;
    scram_wipe(&now);
    if (st == ST_NOT_FOUND) return login_failed(err);
    TRY(st);
    return principal_new(call->client->mem, doc, version, out, err);
}

/* Looks at the proof when it is this attempt's turn (auth_delay.h). */
static status prove(struct command_call *call, struct auth_talk *talk, struct slice payload, struct slice *answer,
                    struct err *err) {
    struct auth_delay *delay = &call->env->users->delay;
    struct auth_attempt who = auth_attempt_of(delay, call->client->remote, talk->scram.user, talk->db);
    bool may;
    TRY(auth_delay_wait(delay, who, call->op, &may, err));
    if (!may) return login_failed(err);
    status st = scram_finish(&talk->scram, payload, answer, err);
    if (st == ST_OK && talk->is_fake) st = login_failed(err);
    if (st == ST_OK) st = still_stands(call, talk, &talk->principal, err);
    if (st == ST_OK) auth_delay_passed(delay, who);
    else if (st == ST_INVALID) auth_delay_failed(delay, who);
    return st;
}

struct sasl_continue {
    int64_t conversation;
    struct bval payload;
};
static const struct field continue_fields[] = {
    {"saslContinue", FIELD_IGNORED, 0, FIELD_REQUIRED},
    {"conversationId", FIELD_INT64, offsetof(struct sasl_continue, conversation), FIELD_REQUIRED},
    {"payload", FIELD_VALUE, offsetof(struct sasl_continue, payload), FIELD_REQUIRED},
};

static status step(struct command_call *call, struct auth_talk *talk, const struct sasl_continue *cmd,
                   struct err *err) {
    struct slice payload, answer = SLICE_LIT("");
    TRY(read_payload(call->op, cmd->payload, &payload, err));
    bool done = talk->is_proven;
    if (!talk->is_proven) {
        TRY(prove(call, talk, payload, &answer, err));
        talk->is_proven = true;
        done = talk->skips_empty;
    } else if (payload.len != 0) {
        return login_failed(err);
    }
    if (done) {
        struct principal *p = talk->principal;
        talk->principal = NULL;
        TRY(log_in(call, p, err));
    }
    append_answer(call, call->reply, cmd->payload.type == B_STRING, done, answer);
    if (done) end_talk(call->client);
    return ST_OK;
}

static status run_continue(struct command_call *call, struct err *err) {
    struct sasl_continue cmd = {0};
    struct auth_talk *talk = call->client->talk;
    TRY(fields_parse("saslContinue", call->body, continue_fields, COUNT(continue_fields), true, &cmd, err));
    if (talk == NULL) return RAISE_CODE(err, CODE_ProtocolError, "No SASL session state found");
    status st;
    if (cmd.conversation != CONVERSATION_ID)
        st = RAISE_CODE(err, CODE_ProtocolError, "sasl: Mismatched conversation id");
    else if (!slice_equal(talk->db, call->db))
        st = RAISE_CODE(err, CODE_ProtocolError, "Attempt to switch database target during sasl authentication.");
    else st = step(call, talk, &cmd, err);
    if (st != ST_OK) end_talk(call->client);
    return st;
}

const struct command command_sasl_continue = {.name = "saslContinue",
                                              .flags = COMMAND_UNLOGGED | COMMAND_NO_SESSION,
                                              .run = run_continue,
                                              .access = ACCESS_ANYBODY,
                                              .help = "Goes on to log in."};

/* --- logout --- */

static status run_logout(struct command_call *call, struct err *err) {
    static const struct field rows[] = {{"logout", FIELD_IGNORED, 0, FIELD_REQUIRED}};
    const struct principal *p = call->client->principal;
    TRY(fields_parse("logout", call->body, rows, COUNT(rows), true, NULL, err));
    end_talk(call->client);
    if (p != NULL && slice_equal(p->db, call->db)) {
        call->op->user = SLICE_NONE; /* its names go */
        client_set_principal(call->client, NULL);
    }
    return ST_OK;
}

const struct command command_logout = {
    .name = "logout", .flags = COMMAND_NO_SESSION, .run = run_logout, .access = ACCESS_ANYBODY, .help = "Logs out."};

/* --- authenticate: who has a verified certificate is the user of that name on $external --- */

#define EXTERNAL SLICE_LIT("$external")

struct authenticate {
    struct slice mechanism, user, db;
};
static const struct field authenticate_fields[] = {
    {"authenticate", FIELD_IGNORED, 0, FIELD_REQUIRED},
    {"mechanism", FIELD_STRING, offsetof(struct authenticate, mechanism), FIELD_REQUIRED},
    {"user", FIELD_STRING, offsetof(struct authenticate, user), 0},
    {"db", FIELD_STRING, offsetof(struct authenticate, db), 0},
};

static status authenticate(struct command_call *call, struct bdoc body, bool generic, struct slice db,
                           struct bbuild *reply, struct err *err) {
    struct authenticate cmd = {.db = db};
    struct principal *p;
    struct bdoc doc;
    const char *subject_text = call->client->tls_subject;
    TRY(fields_parse("authenticate", body, authenticate_fields, COUNT(authenticate_fields), generic, &cmd, err));
    if (!slice_equal(cmd.mechanism, SLICE_LIT("MONGODB-X509")))
        return RAISE_CODE(err, CODE_MechanismUnavailable, "Unsupported authentication mechanism: %.*s",
                          (int) cmd.mechanism.len, (const char *) cmd.mechanism.p);
    if (!slice_equal(cmd.db, EXTERNAL))
        return RAISE_CODE(err, CODE_ProtocolError, "X.509 authentication must always use the $external database.");
    if (subject_text == NULL || subject_text[0] == 0)
        return RAISE_CODE(err, CODE_AuthenticationFailed, "No verified subject name available from client");
    struct slice subject = slice_str(subject_text);
    if (cmd.user.p != NULL && !slice_equal(cmd.user, subject)) return login_failed(err);
    uint64_t version = atomic_load_explicit(&call->env->users->version, memory_order_acquire);
    status st = user_read(call->op, (struct user_name){subject, EXTERNAL}, &doc, err);
    if (st == ST_NOT_FOUND) return login_failed(err);
    TRY(st);
    TRY(principal_new(call->client->mem, doc, version, &p, err));
    TRY(log_in(call, p, err));
    bbuild_str(reply, "dbname", "$external");
    bbuild_slice(reply, "user", subject);
    return ST_OK;
}

static status run_authenticate(struct command_call *call, struct err *err) {
    return authenticate(call, call->body, true, call->db, call->reply, err);
}

const struct command command_authenticate = {.name = "authenticate",
                                             .flags = COMMAND_UNLOGGED | COMMAND_NO_SESSION,
                                             .run = run_authenticate,
                                             .access = ACCESS_ANYBODY,
                                             .help = "Logs in by the certificate of the connection."};

/* --- hello --- */

/* The mechanisms of "db.user". A user that does not exist has those that a new one has. */
static status append_mechanisms(struct command_call *call, struct bval v, struct err *err) {
    if (v.type != B_STRING)
        return RAISE_CODE(err, CODE_TypeMismatch,
                          "BSON field 'saslSupportedMechs' is the wrong type '%s', expected type 'string'",
                          btype_name(v.type));
    struct slice text = bval_string(v);
    const uint8_t *dot = text.len != 0 ? memchr(text.p, '.', text.len) : NULL;
    if (dot == NULL) return RAISE_CODE(err, CODE_BadValue, "UserName must contain a '.' separated database.user pair");
    size_t db_len = (size_t) (dot - text.p);
    struct user_name name = {slice_of(dot + 1, text.len - db_len - 1), slice_of(text.p, db_len)};
    struct scram_credentials c;
    struct bdoc doc;
    status st = user_read(call->op, name, &doc, err);
    if (st != ST_NOT_FOUND) TRY(st);
    struct bbuild array = bbuild_open_array(call->reply, SLICE_LIT("saslSupportedMechs"));
    for (int m = 0; m < SCRAM_COUNT; m++) {
        uint8_t bytes[32] = {0};
        const char *mechanism = scram_name((enum scram_mechanism) m);
        if (st == ST_OK && user_credentials(doc, (enum scram_mechanism) m, &c) != ST_OK) continue;
        put_le32(bytes, (uint32_t) strlen(mechanism) + 1);
        memcpy(bytes + 4, mechanism, strlen(mechanism));
        bbuild_push(&array, (struct bval){bytes, (uint32_t) strlen(mechanism) + 5, B_STRING});
    }
    bbuild_close(&array);
    scram_wipe(&c);
    return ST_OK;
}

/* A first step that comes with hello. One that fails is not answered: the driver then begins in the ordinary way, and learns why. */
static status speculate(struct command_call *call, struct bdoc body, struct err *err) {
    struct biter it = biter_of(body);
    struct belem first;
    struct err own = ERR_INIT;
    struct buf answer;
    struct bbuild b;
    status st = ST_NOT_FOUND;
    if (!biter_next(&it, &first)) return ST_OK;
    buf_init(&answer, call->op->mem);
    bbuild_begin(&b, &answer);
    struct bval db = bdoc_get_str(body, "db");
    struct slice db_name = db.type == B_STRING ? bval_string(db) : SLICE_LIT("admin");
    if (slice_equal(first.name, SLICE_LIT("saslStart"))) st = start(call, body, false, db_name, &b, &own);
    else if (slice_equal(first.name, SLICE_LIT("authenticate")))
        st = authenticate(call, body, false, db.type == B_STRING ? db_name : EXTERNAL, &b, &own);
    struct bdoc doc = bbuild_finish(&b);
    if (st == ST_OK && doc.p != NULL) bbuild_doc(call->reply, "speculativeAuthenticate", doc);
    buf_release(&answer);
    if (st == ST_NOMEM || doc.p == NULL) return RAISE(err, ST_NOMEM, "no memory for a login");
    return ST_OK;
}

status auth_hello(struct command_call *call, struct err *err) {
    struct bval mechanisms = bdoc_get_str(call->body, "saslSupportedMechs"),
                first_step = bdoc_get_str(call->body, "speculativeAuthenticate");
    if (mechanisms.type != B_MISSING) TRY(append_mechanisms(call, mechanisms, err));
    if (first_step.type == B_DOCUMENT) TRY(speculate(call, bval_doc(first_step), err));
    return ST_OK;
}
