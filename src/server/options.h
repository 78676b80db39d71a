/* The options of elmo_listen (include/elmo/server.h), read and checked. */
#ifndef ELMO_SERVER_OPTIONS_H
#define ELMO_SERVER_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include <elmo/elmo.h>

#include "server/frame.h"

enum tls_mode { TLS_DISABLED, TLS_ALLOW, TLS_PREFER, TLS_REQUIRE };

/* Strings are owned; NULL: not given. */
struct options {
    char *bind_ip, *unix_path, *replica_set, *log_path;
    char *tls_file, *tls_ca_file, *tls_password;
    enum tls_mode tls_mode;
    bool tls_allow_no_certificate;
    bool auth, allow_unsafe_bind, is_quiet;
    int64_t port, connections_max, threads_max;
    bool may_compress[COMPRESSOR_COUNT];
    uint8_t compressors[COMPRESSOR_COUNT]; /* in the order of preference */
    unsigned compressor_count;
    bson_t argv, parsed;
    bool has_argv, has_parsed;
};

/* False with `error`; the options are released in either case with options_release. */
bool options_parse(struct options *out, const bson_t *opts, bson_error_t *error);
void options_release(struct options *o);

#endif
