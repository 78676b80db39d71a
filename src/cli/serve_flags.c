/* The flags of elmo serve, which are mongod's: one row each. A flag of mongod's that cannot be honoured is refused by name with the reason, never ignored. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serve.h"

enum flag_kind {
    FLAG_VALUE,  /* --flag VALUE */
    FLAG_SWITCH, /* --flag */
    FLAG_LIST,   /* --setParameter, again and again */
    FLAG_NO_EFFECT_VALUE,
    FLAG_NO_EFFECT, /* harmless to go without: the log says that it has no effect */
    FLAG_REFUSED,   /* help tells why */
};

struct flag {
    const char *name;
    enum flag_kind kind;
    size_t at;        /* of the text in struct serve */
    const char *path; /* in getCmdLineOpts; "#" before it: a number; "=enabled" behind it: that value */
    const char *help;
};

#define AT(field) offsetof(struct serve, field)
#define ONE_FILE "a database is one file"
#define NO_SHARDS "there is no sharding: leave it out"

static const struct flag flags[] = {
    {"--dbpath", FLAG_VALUE, AT(db_path), "storage.dbPath",
     "DIR  the folder of the database: the file elmo.elmo in it, created when missing"},
    {"--inMemory", FLAG_SWITCH, AT(in_memory), NULL, "keep everything in memory"},
    {"--storageEngine", FLAG_VALUE, AT(engine), "storage.engine",
     "NAME  wiredTiger: the file; inMemory, ephemeralForTest: as --inMemory"},
    {"--sync", FLAG_VALUE, AT(sync), NULL, "HOW  full (default), normal, off: when a write counts as written"},
    {"--cacheSizeMB", FLAG_VALUE, AT(cache_mb), NULL, "N  the block cache"},
    {"--wiredTigerCacheSizeGB", FLAG_VALUE, AT(cache_gb), "#storage.wiredTiger.engineConfig.cacheSizeGB",
     "N  the block cache, in GB"},
    {"--threads", FLAG_VALUE, AT(threads), NULL, "N  how many commands may run at once (default 64)"},
    {"--port", FLAG_VALUE, AT(port), "#net.port", "N  default 27017; 0: the system chooses"},
    {"--bind_ip", FLAG_VALUE, AT(bind_ip), "net.bindIp",
     "LIST  addresses to listen on, separated by commas (default 127.0.0.1)"},
    {"--bind_ip_all", FLAG_SWITCH, AT(bind_ip_all), "net.bindIpAll", "listen on all addresses"},
    {"--ipv6", FLAG_SWITCH, AT(ipv6), "net.ipv6", "with --bind_ip_all: IPv6 too"},
    {"--allowUnsafeBind", FLAG_SWITCH, AT(unsafe_bind), NULL,
     "other machines may connect although nobody needs to log in"},
    {"--maxConns", FLAG_VALUE, AT(connections_max), "#net.maxIncomingConnections", "N  default 10000"},
    {"--networkMessageCompressors", FLAG_VALUE, AT(compressors), "net.compression.compressors",
     "LIST  default snappy,zstd,zlib; \"disabled\""},
    {"--unixSocketPrefix", FLAG_VALUE, AT(unix_prefix), "net.unixDomainSocket.pathPrefix",
     "DIR  listen on the unix socket DIR/mongodb-PORT.sock too"},
    {"--nounixsocket", FLAG_SWITCH, AT(no_unix), NULL, "no unix socket (default)"},
    {"--auth", FLAG_SWITCH, AT(auth), "security.authorization=enabled", "clients must log in"},
    {"--noauth", FLAG_SWITCH, AT(no_auth), "security.authorization=disabled", "clients need not log in (default)"},
    {"--keyFile", FLAG_VALUE, AT(key_file), "security.keyFile",
     "FILE  as --auth: there are no other members to show a key to"},
    {"--replSet", FLAG_VALUE, AT(replica_set), "replication.replSet", "NAME  be the primary of a replica set of one"},
    {"--tlsMode", FLAG_VALUE, AT(tls_mode), "net.tls.mode",
     "MODE  disabled (default), allowTLS, preferTLS, requireTLS"},
    {"--tlsCertificateKeyFile", FLAG_VALUE, AT(tls_file), "net.tls.certificateKeyFile",
     "FILE  PEM: the certificate and its key"},
    {"--tlsCertificateKeyFilePassword", FLAG_VALUE, AT(tls_password), NULL, "TEXT  the key's password"},
    {"--tlsCAFile", FLAG_VALUE, AT(tls_ca_file), "net.tls.CAFile",
     "FILE  PEM: who signs clients' certificates; clients must have one"},
    {"--tlsAllowConnectionsWithoutCertificates", FLAG_SWITCH, AT(tls_allow_none),
     "net.tls.allowConnectionsWithoutCertificates", "clients may do without one"},
    {"--quiet", FLAG_SWITCH, AT(quiet), "systemLog.quiet", "connections are not logged"},
    {"--fork", FLAG_SWITCH, AT(fork), "processManagement.fork", "go to the background; needs --logpath"},
    {"--logpath", FLAG_VALUE, AT(log_path), "systemLog.path",
     "FILE  the log (default: standard output); SIGUSR1 and SIGHUP open it anew"},
    {"--logappend", FLAG_SWITCH, AT(log_append), "systemLog.logAppend", "go on in an old log; else it is moved away"},
    {"--pidfilepath", FLAG_VALUE, AT(pid_file), "processManagement.pidFilePath",
     "FILE  the process id is written there"},
    {"--setParameter", FLAG_LIST, 0, NULL, "NAME=VALUE  as the command setParameter"},
    {"--verbose", FLAG_NO_EFFECT, 0, NULL, NULL},
    {"--slowms", FLAG_NO_EFFECT_VALUE, 0, NULL, NULL},
    {"--oplogSize", FLAG_NO_EFFECT_VALUE, 0, NULL, NULL},
    {"--logRotate", FLAG_NO_EFFECT_VALUE, 0, NULL, NULL},
    {"--listenBacklog", FLAG_NO_EFFECT_VALUE, 0, NULL, NULL},
    {"--journal", FLAG_NO_EFFECT, 0, NULL, NULL},
    {"--nohttpinterface", FLAG_NO_EFFECT, 0, NULL, NULL},
    {"--noscripting", FLAG_NO_EFFECT, 0, NULL, NULL},
    {"--nojournal", FLAG_REFUSED, 0, NULL, "there is always a log; --sync off or --inMemory is what you may mean"},
    {"--directoryperdb", FLAG_REFUSED, 0, NULL, ONE_FILE},
    {"--wiredTigerDirectoryForIndexes", FLAG_REFUSED, 0, NULL, ONE_FILE},
    {"--config", FLAG_REFUSED, 0, NULL, "configuration files are not read: give the flags themselves"},
    {"--repair", FLAG_REFUSED, 0, NULL, "`elmo check FILE` looks for damage, `elmo compact FILE` rewrites the file"},
    {"--shutdown", FLAG_REFUSED, 0, NULL, "end the server with SIGTERM: kill $(cat PIDFILE)"},
    {"--profile", FLAG_REFUSED, 0, NULL, "there is no profiler"},
    {"--syslog", FLAG_REFUSED, 0, NULL, "the log goes to standard output or to --logpath"},
    {"--shardsvr", FLAG_REFUSED, 0, NULL, NO_SHARDS},
    {"--configsvr", FLAG_REFUSED, 0, NULL, NO_SHARDS},
    {"--clusterAuthMode", FLAG_REFUSED, 0, NULL, "there are no other members"},
    {"--tlsAllowInvalidCertificates", FLAG_REFUSED, 0, NULL,
     "certificates that are checked must be valid; leave --tlsCAFile out to check none"},
    {"--tlsAllowInvalidHostnames", FLAG_REFUSED, 0, NULL, "no host names are checked: the server connects to nobody"},
    {"--tlsClusterFile", FLAG_REFUSED, 0, NULL, "there are no other members"},
    {"--tlsCRLFile", FLAG_REFUSED, 0, NULL, "revocation lists are not read"},
    {"--tlsDisabledProtocols", FLAG_REFUSED, 0, NULL, "TLS 1.2 and 1.3 are spoken, older ones never"},
    {"--tlsFIPSMode", FLAG_REFUSED, 0, NULL, "OpenSSL's own configuration decides on FIPS"},
    {"--enableEncryption", FLAG_REFUSED, 0, NULL, "encryption at rest is not supported"},
    {"--auditDestination", FLAG_REFUSED, 0, NULL, "there is no audit log"},
};
#define FLAG_COUNT (sizeof(flags) / sizeof(flags[0]))

static const char *const *text_at(const struct serve *sv, const struct flag *f) {
    return (const char *const *) (const void *) ((const char *) sv + f->at);
}

static int wrong(const char *fmt, const char *a, const char *b) {
    fputs("elmo serve: ", stderr);
    fprintf(stderr, fmt, a, b);
    fputs("\n`elmo serve --help` tells the flags\n", stderr);
    return EXIT_USAGE;
}

/* ---- reading ---- */

static const struct flag *find_flag(const char *arg, size_t len) {
    if ((len == 2 && memcmp(arg, "-f", 2) == 0)) return find_flag("--config", 8);
    for (size_t i = 0; i < FLAG_COUNT; i++)
        if (strlen(flags[i].name) == len && memcmp(flags[i].name, arg, len) == 0) return &flags[i];
    return NULL;
}

static int add(const char **list, size_t *count, const char *text) {
    if (*count == SET_PARAMETERS_MAX) return wrong("'%s%s' is one too many", text, "");
    list[(*count)++] = text;
    return 0;
}

static int take(const struct flag *f, const char *value, struct serve *out) {
    switch (f->kind) {
    case FLAG_REFUSED: return wrong("%s is not supported: %s", f->name, f->help);
    case FLAG_NO_EFFECT:
    case FLAG_NO_EFFECT_VALUE: return add(out->without_effect, &out->without_effect_count, f->name);
    case FLAG_LIST: return add(out->set_parameters, &out->set_parameter_count, value);
    case FLAG_SWITCH:
    case FLAG_VALUE: break;
    }
    *(const char **) (void *) ((char *) out + f->at) = f->kind == FLAG_SWITCH ? f->name : value;
    return 0;
}

/* One flag and its value; *i steps over the latter. */
static int parse_flag(int argc, char **argv, int *i, struct serve *out) {
    const char *arg = argv[*i], *value = strchr(arg, '=');
    size_t len = value != NULL ? (size_t) (value - arg) : strlen(arg);
    if (arg[1] == 'v' && strspn(arg + 1, "v") == strlen(arg + 1))
        return add(out->without_effect, &out->without_effect_count, "-v");
    const struct flag *f = find_flag(arg, len);
    if (f == NULL) return wrong("unknown flag '%s'%s", arg, "");
    bool takes_value = f->kind == FLAG_VALUE || f->kind == FLAG_LIST || f->kind == FLAG_NO_EFFECT_VALUE;
    if (value != NULL) value++;
    if (f->kind == FLAG_REFUSED) return take(f, value, out);
    if (!takes_value) {
        if (value == NULL || strcmp(value, "true") == 0) return take(f, value, out);
        return strcmp(value, "false") == 0 ? 0 : wrong("%s takes no value, but has '%s'", f->name, value);
    }
    if (value == NULL && *i + 1 < argc) value = argv[++*i];
    if (value == NULL) return wrong("%s needs a value%s", f->name, "");
    return take(f, value, out);
}

static int check(const struct serve *sv) {
    if (sv->file != NULL && sv->db_path != NULL)
        return wrong("either FILE or --dbpath, not both: '%s' and '%s'", sv->file, sv->db_path);
    if (sv->file != NULL && sv->in_memory != NULL)
        return wrong("either FILE or --inMemory, not both: '%s'%s", sv->file, "");
    if (sv->auth != NULL && sv->no_auth != NULL) return wrong("either %s or %s, not both", "--auth", "--noauth");
    if (sv->fork != NULL && sv->log_path == NULL)
        return wrong("%s needs %s: nobody reads what a background process prints", "--fork", "--logpath");
    if (sv->unix_prefix != NULL && sv->no_unix != NULL)
        return wrong("either %s or %s, not both", "--unixSocketPrefix", "--nounixsocket");
    if (sv->bind_ip != NULL && sv->bind_ip_all != NULL)
        return wrong("either %s or %s, not both", "--bind_ip", "--bind_ip_all");
    return 0;
}

int serve_parse(int argc, char **argv, struct serve *out) {
    *out = (struct serve){0};
    for (int i = 0; i < argc; i++) {
        const char *arg = argv[i];
        if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
            out->wants_help = true;
            return 0;
        }
        if (strcmp(arg, "--version") == 0) {
            out->wants_version = true;
            return 0;
        }
        if (arg[0] == '-' && arg[1] != '\0') {
            int status = parse_flag(argc, argv, &i, out);
            if (status != 0) return status;
        } else if (out->file != NULL) {
            return wrong("one file is served, not both '%s' and '%s'", out->file, arg);
        } else {
            out->file = arg;
        }
    }
    return check(out);
}

void serve_help(void) {
    printf("usage: elmo serve FILE | --dbpath DIR | --inMemory [FLAGS]\n%s\n\n", sub_serve.summary);
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        const struct flag *f = &flags[i];
        char left[80];
        if (f->kind > FLAG_LIST) continue;
        const char *text = f->help, *gap = strstr(f->help, "  ");
        bool has_value = f->kind != FLAG_SWITCH && gap != NULL;
        (void) snprintf(left, sizeof(left), "%s%s%.*s", f->name, has_value ? " " : "",
                        has_value ? (int) (gap - f->help) : 0, f->help);
        printf("  %-44s %s\n", left, has_value ? gap + 2 : text);
    }
    printf("\nFlags are mongod's and are written `--flag value` or `--flag=value`. SIGTERM and SIGINT end the server; "
           "nothing is lost.\n"
           "Started under the name mongod it takes the same flags.\n");
}

/* ---- getCmdLineOpts ---- */

static bool is_given(const struct serve *sv, const struct flag *f) {
    return f->path != NULL && *text_at(sv, f) != NULL;
}

/* `path` below `prefix`: the next name, *is_leaf: it is the last. NULL: it lies elsewhere. */
static const char *below(const char *path, const char *prefix, char *name, size_t name_len, bool *is_leaf) {
    size_t prefix_len = strlen(prefix);
    if (*path == '#') path++;
    if (strncmp(path, prefix, prefix_len) != 0) return NULL;
    size_t len = strcspn(path + prefix_len, ".=");
    if (len >= name_len) return NULL;
    memcpy(name, path + prefix_len, len);
    name[len] = '\0';
    *is_leaf = path[prefix_len + len] != '.';
    return name;
}

static void append_value(bson_t *out, const char *name, const struct flag *f, const char *text) {
    const char *fixed = strchr(f->path, '=');
    if (f->path[0] == '#') {
        double number = strtod(text, NULL);
        if (number >= 0 && number <= 1e9 && number == (double) (int32_t) number)
            BSON_APPEND_INT32(out, name, (int32_t) number);
        else BSON_APPEND_DOUBLE(out, name, number);
    } else if (fixed != NULL) {
        BSON_APPEND_UTF8(out, name, fixed + 1);
    } else if (f->kind == FLAG_SWITCH) {
        BSON_APPEND_BOOL(out, name, true);
    } else {
        BSON_APPEND_UTF8(out, name, text);
    }
}

static void append_level(const struct serve *sv, const char *prefix, bson_t *out) {
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        char name[64], inner[160];
        bool is_leaf;
        if (!is_given(sv, &flags[i]) || below(flags[i].path, prefix, name, sizeof(name), &is_leaf) == NULL) continue;
        if (is_leaf) {
            append_value(out, name, &flags[i], *text_at(sv, &flags[i]));
            continue;
        }
        if (bson_has_field(out, name)) continue; /* an earlier row has opened and filled it */
        bson_t child;
        (void) snprintf(inner, sizeof(inner), "%.80s%s.", prefix, name);
        BSON_APPEND_DOCUMENT_BEGIN(out, name, &child);
        append_level(sv, inner, &child);
        bson_append_document_end(out, &child);
    }
}

void serve_parsed(const struct serve *sv, bson_t *out) {
    bson_init(out);
    append_level(sv, "", out);
}
