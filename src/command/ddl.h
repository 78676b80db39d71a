/* What create and drop share: one change of the catalog as a transaction, retried on conflict. */
#ifndef ELMO_COMMAND_DDL_H
#define ELMO_COMMAND_DDL_H

#include "doc/op.h"

status ddl_run(struct op *op, status (*change)(struct op *op, struct kv_txn *txn, void *ctx, struct err *err), void *ctx, struct err *err);

#endif
