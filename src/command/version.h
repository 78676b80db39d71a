/* Which MongoDB clients take elmo for. They decide by version and wire version what they may send. */
#ifndef ELMO_COMMAND_VERSION_H
#define ELMO_COMMAND_VERSION_H

#define MONGODB_VERSION "7.0.14"
#define MONGODB_VERSION_MAJOR 7
#define MONGODB_VERSION_MINOR 0
#define MONGODB_VERSION_PATCH 14
#define MONGODB_FEATURES "7.0" /* featureCompatibilityVersion */
#define WIRE_VERSION_MAX 21

#define MESSAGE_LEN_MAX 48000000
#define WRITE_BATCH_MAX 100000
#define SESSION_MINUTES 30

#endif
