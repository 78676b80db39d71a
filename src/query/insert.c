/* insert: each document of the command is a statement. See write.h. */
#include "query/write_command.h"

struct insert {
    struct op *op;
    const struct insert_request *req;
    struct buf buf;
};

static status insert_one(void *ctx, struct write_batch *b, uint32_t i, struct write_result *out, struct err *err) {
    struct insert *in = ctx;
    struct bdoc doc;
    struct arena_mark mark = arena_mark(&in->op->arena);
    buf_clear(&in->buf);
    TRY(collection_prepare(in->op, in->req->docs[i], &in->buf, &doc, err));
    TRY(collection_write(in->op, b->txn, b->collection, (struct bdoc){NULL, 0}, doc, NULL, err));
    write_batch_count(b, doc.len);
    out->inserted++;
    /* Details of a failure stay in the arena; a success needs nothing of it. */
    arena_rewind(&in->op->arena, mark);
    return ST_OK;
}

status insert_run(struct op *op, const struct insert_request *req, struct write_result *out, struct err *err) {
    struct insert in = {.op = op, .req = req};
    buf_init(&in.buf, op->mem);
    struct write_command cmd = {
        .count = req->doc_count, .ordered = req->ordered, .creates = true, .run = insert_one, .ctx = &in};
    status st = write_command_run(op, req->ns, &cmd, out, err);
    buf_release(&in.buf);
    return st;
}
