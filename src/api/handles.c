/* Reference counting and conversions; see handles.h. */
#include "api/handles.h"

#include "command/auth.h"

#include "bson/check.h"
#include "doc/db.h"
#include "doc/session.h"

struct elmo *elmo_ref(struct elmo *db) {
    atomic_fetch_add_explicit(&db->ref_count, 1, memory_order_relaxed);
    return db;
}

void elmo_unref(struct elmo *db) {
    if (db == NULL || atomic_fetch_sub_explicit(&db->ref_count, 1, memory_order_acq_rel) != 1) return;
    if (db->document_db != NULL) db_upkeep_stop(db->document_db);
    sessions_free(db->command.sessions);
    cursors_free(db->command.cursors);
    users_free(db->command.users);
    service_release(&db->command.service, db->mem);
    db_close(db->document_db);
    mem_delete(db->mem, db);
}

status api_begin(struct elmo *db, struct op *op, struct err *err) {
    op_init(op, db->document_db);
    if (atomic_load_explicit(&db->is_closed, memory_order_acquire))
        return RAISE(err, ST_CLOSED, "the database was closed");
    return ST_OK;
}

status api_command(struct elmo *db, struct op *op, struct session *session, struct slice db_name, struct bdoc body,
                   struct buf *reply, struct bdoc *reply_doc, struct err *err) {
    struct client client;
    client_init(&client, &db->command, true);
    status st = command_run(&client, op, &(struct command_input){.db = db_name, .body = body, .session = session}, reply, reply_doc, err);
    client_release(&client);
    return st;
}

status api_document(const bson_t *doc, const char *what, struct bdoc *out, struct err *err) {
    if (doc == NULL) {
        *out = bdoc_empty;
        return ST_OK;
    }
    status st = bson_check(bson_get_data(doc), doc->len, BSON_CHECK_UTF8, out, err);
    if (st != ST_OK && err != NULL) {
        char text[ERR_TEXT_LEN];
        (void) snprintf(text, sizeof(text), "%s: %.400s", what, err->text);
        (void) snprintf(err->text, sizeof(err->text), "%s", text);
    }
    return st;
}

bool api_no_handle(bson_t *reply, bson_error_t *error) {
    struct err err = ERR_INIT;
    return api_answer(RAISE(&err, ST_NOMEM, "there was no memory for the collection's handle"), &err, (struct bdoc){0},
                      reply, error);
}

/* {errorLabels: [...]}, unless a command has written them already. */
static void append_labels(const struct err *err, bson_t *reply) {
    bson_t labels;
    if ((err->labels & (ERR_TRANSIENT | ERR_UNKNOWN_COMMIT)) == 0 || bson_has_field(reply, "errorLabels")) return;
    const char *label =
        (err->labels & ERR_TRANSIENT) != 0 ? "TransientTransactionError" : "UnknownTransactionCommitResult";
    BSON_APPEND_ARRAY_BEGIN(reply, "errorLabels", &labels);
    BSON_APPEND_UTF8(&labels, "0", label);
    bson_append_array_end(reply, &labels);
}

bool api_answer(status st, const struct err *err, struct bdoc reply_doc, bson_t *reply, bson_error_t *error) {
    if (reply != NULL) {
        bson_t lent;
        if (reply_doc.p != NULL && bson_init_static(&lent, reply_doc.p, reply_doc.len)) {
            bson_copy_to(&lent, reply);
        } else {
            bson_init(reply);
        }
    }
    if (st == ST_OK) return true;
    if (reply != NULL) append_labels(err, reply);
    bson_set_error(error, ELMO_ERROR_SERVER, (uint32_t) err->code, "%s", err->text);
    return false;
}
