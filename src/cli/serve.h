/* elmo serve: what its flags say. */
#ifndef ELMO_CLI_SERVE_H
#define ELMO_CLI_SERVE_H

#include <stddef.h>

#include "cli.h"

#define SET_PARAMETERS_MAX 64

/* Flags are mongod's; text as it was given, NULL: not given. A switch holds its own name. */
struct serve {
    const char *file, *db_path, *in_memory, *engine, *sync, *cache_gb, *cache_mb, *threads;
    const char *port, *bind_ip, *bind_ip_all, *ipv6, *unsafe_bind, *connections_max, *compressors;
    const char *unix_prefix, *no_unix;
    const char *auth, *no_auth, *key_file, *replica_set;
    const char *tls_mode, *tls_file, *tls_password, *tls_ca_file, *tls_allow_none;
    const char *quiet, *fork, *log_path, *log_append, *pid_file;
    const char *set_parameters[SET_PARAMETERS_MAX];
    size_t set_parameter_count;
    const char *without_effect[SET_PARAMETERS_MAX]; /* taken for the sake of those who give them; the log says so */
    size_t without_effect_count;
    bool wants_help, wants_version;
};

/* Exit status: 0 to go on. `--flag value`, `--flag=value`. */
int serve_parse(int argc, char **argv, struct serve *out);
void serve_help(void);
/* As getCmdLineOpts shows them: {net: {port: 27017}, ...}. */
void serve_parsed(const struct serve *sv, bson_t *out);

#endif
