/* The options of elmo_listen: one row each. */
#include "server/options.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "server/compress.h"
#include "server/fault.h"

#define PORT_DEFAULT 27017
#define CONNECTIONS_DEFAULT 10000
#define CONNECTIONS_MAX 1000000
#define THREADS_DEFAULT 64
#define THREADS_MAX 1024

enum option_kind {
    OPTION_TEXT,
    OPTION_BOOL,
    OPTION_NUMBER,
    OPTION_MODE,
    OPTION_COMPRESSORS,
    OPTION_ARGV,
    OPTION_PARSED
};

struct option {
    const char *name;
    enum option_kind kind;
    size_t at; /* of the field in struct options */
    int64_t least, most;
};

static const struct option rows[] = {
    {"bindIp", OPTION_TEXT, offsetof(struct options, bind_ip), 0, 0},
    {"port", OPTION_NUMBER, offsetof(struct options, port), 0, 65535},
    {"unixSocketPath", OPTION_TEXT, offsetof(struct options, unix_path), 0, 0},
    {"auth", OPTION_BOOL, offsetof(struct options, auth), 0, 0},
    {"allowUnsafeBind", OPTION_BOOL, offsetof(struct options, allow_unsafe_bind), 0, 0},
    {"replicaSet", OPTION_TEXT, offsetof(struct options, replica_set), 0, 0},
    {"tlsMode", OPTION_MODE, offsetof(struct options, tls_mode), 0, 0},
    {"tlsCertificateKeyFile", OPTION_TEXT, offsetof(struct options, tls_file), 0, 0},
    {"tlsCAFile", OPTION_TEXT, offsetof(struct options, tls_ca_file), 0, 0},
    {"tlsCertificateKeyFilePassword", OPTION_TEXT, offsetof(struct options, tls_password), 0, 0},
    {"tlsAllowConnectionsWithoutCertificates", OPTION_BOOL, offsetof(struct options, tls_allow_no_certificate), 0, 0},
    {"compressors", OPTION_COMPRESSORS, 0, 0, 0},
    {"maxConnections", OPTION_NUMBER, offsetof(struct options, connections_max), 1, CONNECTIONS_MAX},
    {"threads", OPTION_NUMBER, offsetof(struct options, threads_max), 1, THREADS_MAX},
    {"argv", OPTION_ARGV, 0, 0, 0},
    {"parsed", OPTION_PARSED, 0, 0, 0},
    {"logPath", OPTION_TEXT, offsetof(struct options, log_path), 0, 0},
    {"quiet", OPTION_BOOL, offsetof(struct options, is_quiet), 0, 0},
};

static bool copy_text(const struct option *row, const bson_iter_t *value, char **out, bson_error_t *error) {
    uint32_t len;
    if (!BSON_ITER_HOLDS_UTF8(value)) return fault(error, FAULT_BAD_VALUE, "option '%s' must be a string", row->name);
    const char *text = bson_iter_utf8(value, &len);
    if (strlen(text) != len) return fault(error, FAULT_BAD_VALUE, "option '%s' has a zero byte in it", row->name);
    free(*out);
    *out = strdup(text);
    return *out != NULL ? true : fault_memory(error);
}

static bool read_number(const struct option *row, const bson_iter_t *value, int64_t *out, bson_error_t *error) {
    if (!BSON_ITER_HOLDS_NUMBER(value)) return fault(error, FAULT_BAD_VALUE, "option '%s' must be a number", row->name);
    double number = bson_iter_as_double(value);
    if (!(number >= (double) row->least && number <= (double) row->most) || number != (double) (int64_t) number)
        return fault(error, FAULT_BAD_VALUE, "option '%s' must be a whole number from %lld to %lld; it is %g",
                     row->name, (long long) row->least, (long long) row->most, number);
    *out = (int64_t) number;
    return true;
}

static bool read_mode(const bson_iter_t *value, enum tls_mode *out, bson_error_t *error) {
    static const char *const modes[] = {"disabled", "allowTLS", "preferTLS", "requireTLS"};
    const char *text = BSON_ITER_HOLDS_UTF8(value) ? bson_iter_utf8(value, NULL) : "";
    for (int i = 0; i < 4; i++) {
        if (strcmp(text, modes[i]) != 0) continue;
        *out = (enum tls_mode) i;
        return true;
    }
    return fault(
        error, FAULT_BAD_VALUE,
        "option 'tlsMode' must be one of \"disabled\", \"allowTLS\", \"preferTLS\", \"requireTLS\"; it is \"%.60s\"",
        text);
}

/* "snappy,zstd"; "disabled" or "" for none. */
static bool read_compressors(struct options *o, const char *text, bson_error_t *error) {
    o->compressor_count = 0;
    memset(o->may_compress, 0, sizeof(o->may_compress));
    if (strcmp(text, "disabled") == 0) return true;
    for (const char *at = text; *at != '\0';) {
        size_t len = strcspn(at, ",");
        int compressor = compressor_find(at, len);
        if (compressor < 0)
            return fault(error, FAULT_BAD_VALUE,
                         "option 'compressors' names '%.*s': it may name snappy, zstd, zlib and noop, separated by "
                         "commas, or be \"disabled\"",
                         (int) (len < 60 ? len : 60), at);
        if (!o->may_compress[compressor]) o->compressors[o->compressor_count++] = (uint8_t) compressor;
        o->may_compress[compressor] = true;
        at += len;
        if (*at == ',') at++;
    }
    return true;
}

/* A copy: argv is an array, parsed a document. */
static bool copy_document(const struct option *row, const bson_iter_t *value, bool is_array, bson_t *out, bool *has,
                          bson_error_t *error) {
    const uint8_t *data;
    uint32_t len;
    bson_t view;
    if (is_array ? !BSON_ITER_HOLDS_ARRAY(value) : !BSON_ITER_HOLDS_DOCUMENT(value))
        return fault(error, FAULT_BAD_VALUE, "option '%s' must be %s", row->name, is_array ? "an array" : "a document");
    if (is_array) bson_iter_array(value, &len, &data);
    else bson_iter_document(value, &len, &data);
    if (!bson_init_static(&view, data, len)) return fault(error, FAULT_BAD_VALUE, "option '%s' is no BSON", row->name);
    if (*has) bson_destroy(out);
    bson_copy_to(&view, out);
    *has = true;
    return true;
}

static bool read_option(struct options *o, const struct option *row, const bson_iter_t *value, bson_error_t *error) {
    void *field = (char *) o + row->at;
    switch (row->kind) {
    case OPTION_TEXT: return copy_text(row, value, field, error);
    case OPTION_NUMBER: return read_number(row, value, field, error);
    case OPTION_MODE: return read_mode(value, field, error);
    case OPTION_ARGV: return copy_document(row, value, true, &o->argv, &o->has_argv, error);
    case OPTION_PARSED: return copy_document(row, value, false, &o->parsed, &o->has_parsed, error);
    case OPTION_COMPRESSORS:
        if (!BSON_ITER_HOLDS_UTF8(value)) return fault(error, FAULT_BAD_VALUE, "option 'compressors' must be a string");
        return read_compressors(o, bson_iter_utf8(value, NULL), error);
    case OPTION_BOOL: break;
    }
    if (!BSON_ITER_HOLDS_BOOL(value)) return fault(error, FAULT_BAD_VALUE, "option '%s' must be a bool", row->name);
    *(bool *) field = bson_iter_bool(value);
    return true;
}

static bool check_tls(const struct options *o, bson_error_t *error) {
    if (o->tls_mode != TLS_DISABLED && o->tls_file == NULL)
        return fault(
            error, FAULT_INVALID_SSL,
            "TLS needs a certificate: give tlsCertificateKeyFile, a PEM file with the certificate and its key");
    if (o->tls_mode == TLS_DISABLED && (o->tls_file != NULL || o->tls_ca_file != NULL))
        return fault(error, FAULT_INVALID_SSL, "'%s' is given, but TLS is off: set tlsMode to requireTLS",
                     o->tls_file != NULL ? "tlsCertificateKeyFile" : "tlsCAFile");
    return true;
}

bool options_parse(struct options *out, const bson_t *opts, bson_error_t *error) {
    bson_iter_t it;
    *out =
        (struct options){.port = PORT_DEFAULT, .connections_max = CONNECTIONS_DEFAULT, .threads_max = THREADS_DEFAULT};
    if (!read_compressors(out, "snappy,zstd,zlib", error)) return false;
    if (opts != NULL) {
        if (!bson_iter_init(&it, opts)) return fault(error, 22, "the options of elmo_listen are no BSON");
        while (bson_iter_next(&it)) {
            size_t i = 0, count = sizeof(rows) / sizeof(rows[0]);
            while (i < count && strcmp(rows[i].name, bson_iter_key(&it)) != 0) i++;
            if (i == count)
                return fault(error, FAULT_UNKNOWN_OPTION, "elmo_listen has no option '%.100s'", bson_iter_key(&it));
            if (!read_option(out, &rows[i], &it, error)) return false;
        }
    }
    if (out->bind_ip == NULL && (out->bind_ip = strdup("127.0.0.1")) == NULL) return fault_memory(error);
    if (out->replica_set != NULL && out->replica_set[0] == '\0')
        return fault(error, FAULT_BAD_VALUE, "option 'replicaSet' is empty");
    return check_tls(out, error);
}

void options_release(struct options *o) {
    free(o->bind_ip);
    free(o->unix_path);
    free(o->replica_set);
    free(o->log_path);
    free(o->tls_file);
    free(o->tls_ca_file);
    if (o->tls_password != NULL) explicit_bzero(o->tls_password, strlen(o->tls_password));
    free(o->tls_password);
    if (o->has_argv) bson_destroy(&o->argv);
    if (o->has_parsed) bson_destroy(&o->parsed);
}
