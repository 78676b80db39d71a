/* currentOp: {inprog: [...]} of client_ops' rows; fields of the body that are no options of its own are a filter over them. */
#include "base/codes.h"
#include "command/generic.h"
#include "command/ops.h"
#include "eval/match.h"

static bool is_option(struct slice name) {
    return slice_equal(name, SLICE_LIT("currentOp")) || slice_equal(name, SLICE_LIT("$all")) ||
        slice_equal(name, SLICE_LIT("$ownOps")) || slice_equal(name, SLICE_LIT("$truncateOps")) ||
        generic_is_field(name);
}

/* The filter among the body's fields, in the op's arena. */
static status filter_of(struct command_call *call, struct bdoc *out, struct err *err) {
    struct buf buf;
    struct bbuild b;
    struct biter it = biter_of(call->body);
    struct belem e;
    buf_init(&buf, call->op->mem);
    bbuild_begin(&b, &buf);
    while (biter_next(&it, &e))
        if (!is_option(e.name)) bbuild_value(&b, e.name, e.value);
    *out = bbuild_finish(&b);
    if (out->p != NULL) out->p = arena_copy(&call->op->arena, out->p, out->len);
    buf_release(&buf);
    return out->p != NULL ? ST_OK : RAISE(err, ST_NOMEM, "no memory for a filter");
}

static status append_matching(struct command_call *call, const struct matcher *m, const struct buf *rows,
                              struct err *err) {
    struct bbuild list = bbuild_open_array(call->reply, SLICE_LIT("inprog"));
    status st = ST_OK;
    for (size_t at = 0; st == ST_OK && at < rows->len;) {
        struct bdoc row = bdoc_of(rows->p + at);
        bool matches = true;
        st = match_doc(m, row, &matches, err);
        if (st == ST_OK && matches) bbuild_push(&list, (struct bval){row.p, row.len, B_DOCUMENT});
        at += row.len;
    }
    bbuild_close(&list);
    return st;
}

static status run(struct command_call *call, struct err *err) {
    struct bdoc filter;
    struct matcher matcher;
    struct buf rows;
    bool own = bval_truthy(bdoc_get_str(call->body, "$ownOps")), all = bval_truthy(bdoc_get_str(call->body, "$all"));
    if (!own) TRY(command_authorize(call, ACCESS_BY_MONITOR, call->db, err));
    TRY(filter_of(call, &filter, err));
    TRY(match_compile(call->op->mem, &call->op->arena, filter, &matcher, err));
    struct ops_wanted wanted = {.idle_connections = all, .only = own ? call->client : NULL};
    buf_init(&rows, call->op->mem);
    status st = client_ops(call->env, &wanted, &rows, err);
    if (st == ST_OK) st = append_matching(call, &matcher, &rows, err);
    buf_release(&rows);
    matcher_release(&matcher);
    return st;
}

const struct command command_current_op = {.name = "currentOp",
                                           .flags = COMMAND_ADMIN_ONLY,
                                           .run = run,
                                           .access = ACCESS_ASKS,
                                           .help = "What runs now."};
