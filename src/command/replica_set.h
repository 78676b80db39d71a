/* The replica set of one that a service may say it is, so that drivers allow transactions and retryable writes. */
#ifndef ELMO_COMMAND_REPLICA_SET_H
#define ELMO_COMMAND_REPLICA_SET_H

#include "command/command.h"

/* hello's part: setName, hosts, primary, electionId, lastWrite, ... */
void replica_set_hello(struct command_call *call, const struct service_info *info);
/* serverStatus's part. */
void replica_set_status(struct bbuild *b, struct command_call *call, const struct service_info *info);
/* 76 NoReplicationEnabled unless the service says that it is one. *info is referenced on success. */
status replica_set_require(struct command_call *call, struct service_info **info, struct err *err);

#endif
