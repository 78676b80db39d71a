/* elmo serve: a server of the network on a database, with mongod's flags, log and habits. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <elmo/server.h>

#include "serve.h"

#define FILE_NAME "elmo.elmo"

struct running {
    const struct serve *sv;
    int argc;
    char **argv;
    const char *default_db_path; /* mongod's /data/db, NULL */
    char path[4096];
    elmo_t *db;
    int parent; /* whom --fork tells how it went; -1 */
};

/* ---- what goes wrong ---- */

/* A line of the log before there is one, for those who read the log of a server that does not start. */
static int refuse_to_start(const bson_error_t *error) {
    struct timespec now;
    struct tm utc;
    char stamp[40];
    bson_t attr = BSON_INITIALIZER;
    (void) clock_gettime(CLOCK_REALTIME, &now);
    (void) gmtime_r(&now.tv_sec, &utc);
    (void) strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
    BSON_APPEND_INT32(&attr, "code", (int32_t) error->code);
    BSON_APPEND_UTF8(&attr, "error", error->message);
    char *json = json_of(&attr);
    if (json != NULL)
        printf(
            "{\"t\":{\"$date\":\"%s.%03d+00:00\"},\"s\":\"E\",\"c\":\"CONTROL\",\"id\":20557,\"ctx\":\"initandlisten\","
            "\"msg\":\"DBException in initAndListen, terminating\",\"attr\":%s}\n",
            stamp, (int) (now.tv_nsec / 1000000), json);
    (void) fflush(stdout);
    bson_free(json);
    bson_destroy(&attr);
    return complain_of(error);
}

/* ---- the database ---- */

static bool keeps_in_memory(const struct serve *sv) {
    if (sv->in_memory != NULL) return true;
    return sv->engine != NULL && (strcmp(sv->engine, "inMemory") == 0 || strcmp(sv->engine, "ephemeralForTest") == 0);
}

static int choose_path(struct running *r) {
    const struct serve *sv = r->sv;
    struct stat st;
    if (sv->engine != NULL && !keeps_in_memory(sv) && strcmp(sv->engine, "wiredTiger") != 0)
        return complain(
            "--storageEngine '%s' is unknown: wiredTiger keeps the file, inMemory and ephemeralForTest keep "
            "everything in memory",
            sv->engine);
    if (keeps_in_memory(sv)) {
        (void) snprintf(r->path, sizeof(r->path), ":memory:");
        return 0;
    }
    if (sv->file != NULL) {
        (void) snprintf(r->path, sizeof(r->path), "%s", sv->file);
        return 0;
    }
    const char *dir = sv->db_path != NULL ? sv->db_path : r->default_db_path;
    if (dir == NULL) return usage_error(&sub_serve, "the database is missing: give FILE, --dbpath DIR or --inMemory");
    if (stat(dir, &st) != 0)
        return complain("NonExistentPath: Data directory %s not found. Create the missing directory or specify another "
                        "path using the --dbpath command line option (%s)",
                        dir, strerror(errno));
    if (!S_ISDIR(st.st_mode)) return complain("--dbpath %s is no folder; `elmo serve %s` serves a file", dir, dir);
    if (access(dir, R_OK | W_OK | X_OK) != 0)
        return complain("the data directory %s cannot be used: %s; it must be readable and writable by this user", dir,
                        strerror(errno));
    int len = snprintf(r->path, sizeof(r->path), "%s/" FILE_NAME, dir);
    return len < (int) sizeof(r->path) ? 0 : complain("--dbpath %.100s... is too long", dir);
}

static int open_database(struct running *r) {
    const struct serve *sv = r->sv;
    bson_error_t error;
    bson_t opts = BSON_INITIALIZER;
    int64_t cache_mb = 0;
    if (sv->sync != NULL) BSON_APPEND_UTF8(&opts, "sync", sv->sync);
    if (sv->cache_gb != NULL) {
        char *end;
        double gb = strtod(sv->cache_gb, &end);
        if (end == sv->cache_gb || *end != '\0' || !(gb > 0 && gb <= 10000))
            return complain("--wiredTigerCacheSizeGB '%s' is not a number of GB", sv->cache_gb);
        cache_mb = (int64_t) (gb * 1024 + 0.5);
    }
    if (!number_option("--cacheSizeMB", sv->cache_mb, 1, INT32_MAX, &cache_mb)) return EXIT_ERROR;
    if (cache_mb > 0) BSON_APPEND_INT64(&opts, "cacheSizeMB", cache_mb);
    bool ok = elmo_open(r->path, &opts, &r->db, &error);
    bson_destroy(&opts);
    return ok ? 0 : refuse_to_start(&error);
}

/* NAME=VALUE as {setParameter: 1, NAME: VALUE}; numbers and bools as such. */
static int set_parameter(struct running *r, const char *text) {
    const char *value = strchr(text, '=');
    bson_error_t error;
    bson_t command = BSON_INITIALIZER, reply;
    char *end;
    if (value == NULL || value == text) return complain("--setParameter '%s' is not NAME=VALUE", text);
    BSON_APPEND_INT32(&command, "setParameter", 1);
    int name_len = (int) (value++ - text);
    long long whole = strtoll(value, &end, 10);
    if (*value != '\0' && *end == '\0') bson_append_int64(&command, text, name_len, whole);
    else if (strcmp(value, "true") == 0 || strcmp(value, "false") == 0)
        bson_append_bool(&command, text, name_len, value[0] == 't');
    else bson_append_utf8(&command, text, name_len, value, -1);
    bool ok = elmo_command_simple(r->db, "admin", &command, &reply, &error);
    bson_destroy(&command);
    bson_destroy(&reply);
    return ok ? 0 : complain("--setParameter %s: %s", text, error.message);
}

/* ---- listening ---- */

static void append_text(bson_t *out, const char *name, const char *text) {
    if (text != NULL) bson_append_utf8(out, name, -1, text, -1);
}

static void append_switch(bson_t *out, const char *name, const char *text) {
    if (text != NULL) bson_append_bool(out, name, -1, true);
}

static void append_argv(const struct running *r, bson_t *out) {
    bson_t argv;
    char key[16];
    const char *name;
    BSON_APPEND_ARRAY_BEGIN(out, "argv", &argv);
    for (int i = 0; i < r->argc; i++) {
        const char *text = r->argv[i];
        bool is_secret = i > 0 && strcmp(r->argv[i - 1], "--tlsCertificateKeyFilePassword") == 0;
        (void) bson_uint32_to_string((uint32_t) i, &name, key, sizeof(key));
        if (strncmp(text, "--tlsCertificateKeyFilePassword=", 32) == 0)
            text = "--tlsCertificateKeyFilePassword=<password>";
        else if (is_secret) text = "<password>";
        if (bson_utf8_validate(text, strlen(text), false)) BSON_APPEND_UTF8(&argv, name, text);
        else BSON_APPEND_UTF8(&argv, name, "?");
    }
    bson_append_array_end(out, &argv);
}

static int append_addresses(const struct serve *sv, bson_t *opts) {
    int64_t port = 27017, number = 0;
    char unix_path[4200];
    if (!number_option("--port", sv->port, 0, 65535, &port)) return EXIT_ERROR;
    BSON_APPEND_INT64(opts, "port", port);
    if (sv->bind_ip_all != NULL) append_text(opts, "bindIp", sv->ipv6 != NULL ? "0.0.0.0,::" : "0.0.0.0");
    else append_text(opts, "bindIp", sv->bind_ip);
    if (sv->unix_prefix != NULL) {
        (void) snprintf(unix_path, sizeof(unix_path), "%.4096s/mongodb-%d.sock", sv->unix_prefix, (int) port);
        append_text(opts, "unixSocketPath", unix_path);
    }
    if (!number_option("--maxConns", sv->connections_max, 1, 1000000, &number)) return EXIT_ERROR;
    if (sv->connections_max != NULL) BSON_APPEND_INT64(opts, "maxConnections", number);
    if (!number_option("--threads", sv->threads, 1, 1024, &number)) return EXIT_ERROR;
    if (sv->threads != NULL) BSON_APPEND_INT64(opts, "threads", number);
    return 0;
}

static int listen_on(struct running *r) {
    const struct serve *sv = r->sv;
    bson_error_t error;
    bson_t opts = BSON_INITIALIZER, parsed;
    int status = append_addresses(sv, &opts);
    append_text(&opts, "compressors", sv->compressors);
    if (sv->auth != NULL || sv->key_file != NULL) BSON_APPEND_BOOL(&opts, "auth", true);
    append_switch(&opts, "allowUnsafeBind", sv->unsafe_bind);
    append_text(&opts, "replicaSet", sv->replica_set);
    append_text(&opts, "tlsMode", sv->tls_mode);
    append_text(&opts, "tlsCertificateKeyFile", sv->tls_file);
    append_text(&opts, "tlsCAFile", sv->tls_ca_file);
    append_text(&opts, "tlsCertificateKeyFilePassword", sv->tls_password);
    append_switch(&opts, "tlsAllowConnectionsWithoutCertificates", sv->tls_allow_none);
    append_switch(&opts, "quiet", sv->quiet);
    append_text(&opts, "logPath", sv->log_path != NULL ? sv->log_path : "-");
    append_argv(r, &opts);
    serve_parsed(sv, &parsed);
    BSON_APPEND_DOCUMENT(&opts, "parsed", &parsed);
    if (status == 0 && !elmo_listen(r->db, &opts, &error)) {
        if (strstr(error.message, "can be reached from other machines") != NULL)
            (void) snprintf(error.message + strlen(error.message), sizeof(error.message) - strlen(error.message),
                            ": --auth or --allowUnsafeBind");
        status = refuse_to_start(&error);
    }
    bson_destroy(&parsed);
    bson_destroy(&opts);
    return status;
}

/* mongod begins a new log unless it is told to append. */
static int move_old_log(const struct serve *sv) {
    char old[4200], stamp[32];
    struct stat st;
    struct tm utc;
    time_t now = time(NULL);
    if (sv->log_path == NULL || sv->log_append != NULL || stat(sv->log_path, &st) != 0 || !S_ISREG(st.st_mode) ||
        st.st_size == 0)
        return 0;
    (void) gmtime_r(&now, &utc);
    (void) strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H-%M-%S", &utc);
    (void) snprintf(old, sizeof(old), "%.4096s.%s", sv->log_path, stamp);
    return rename(sv->log_path, old) == 0
        ? 0
        : complain("the old log %s cannot be moved to %s: %s", sv->log_path, old, strerror(errno));
}

static int write_pid_file(const struct serve *sv) {
    if (sv->pid_file == NULL) return 0;
    FILE *out = fopen(sv->pid_file, "w");
    bool ok = out != NULL && fprintf(out, "%ld\n", (long) getpid()) > 0;
    if (out != NULL && fclose(out) != 0) ok = false;
    return ok ? 0 : complain("--pidfilepath %s cannot be written: %s", sv->pid_file, strerror(errno));
}

/* ---- to the background ---- */

static int tell_parent_missing(pid_t child) {
    int status;
    (void) waitpid(child, &status, 0);
    return complain("child process failed, exited with %d\nTo see additional information in this output, start without "
                    "the \"--fork\" option.",
                    WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

/* Answers -1 in the parent when the child serves; 0 in the child, which tells r->parent. */
static int go_to_background(struct running *r) {
    int ends[2];
    char ready = 0;
    printf("about to fork child process, waiting until server is ready for connections.\n");
    (void) fflush(stdout);
    if (pipe(ends) != 0) return complain("--fork: %s", strerror(errno));
    pid_t child = fork();
    if (child < 0) return complain("--fork: %s", strerror(errno));
    if (child == 0) {
        (void) close(ends[0]);
        (void) setsid();
        r->parent = ends[1];
        (void) fcntl(r->parent, F_SETFD, FD_CLOEXEC);
        return 0;
    }
    (void) close(ends[1]);
    printf("forked process: %ld\n", (long) child);
    (void) fflush(stdout);
    ssize_t n;
    do n = read(ends[0], &ready, 1);
    while (n < 0 && errno == EINTR);
    (void) close(ends[0]);
    if (n != 1) return tell_parent_missing(child);
    printf("child process started successfully, parent exiting\n");
    return -1;
}

static void leave_terminal(struct running *r) {
    if (r->parent < 0) return;
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd < 3 && nothing >= 0; fd++) (void) dup2(nothing, fd);
    if (nothing > 2) (void) close(nothing);
    (void) !write(r->parent, "k", 1);
    (void) close(r->parent);
}

/* ---- running ---- */

static void log_signal(struct running *r, int signal_number) {
    bson_t attr = BSON_INITIALIZER;
    BSON_APPEND_INT32(&attr, "signal", signal_number);
    BSON_APPEND_UTF8(&attr, "error", strsignal(signal_number));
    elmo_listen_log(r->db, 'I', "CONTROL", 23377, "SignalHandler", "Received signal", &attr);
    bson_destroy(&attr);
}

static void log_flags_without_effect(struct running *r) {
    for (size_t i = 0; i < r->sv->without_effect_count; i++) {
        bson_t attr = BSON_INITIALIZER;
        BSON_APPEND_UTF8(&attr, "flag", r->sv->without_effect[i]);
        elmo_listen_log(r->db, 'I', "CONTROL", 22321, "initandlisten", "This flag has no effect here", &attr);
        bson_destroy(&attr);
    }
}

static void wait_for_the_end(struct running *r, const sigset_t *signals) {
    int got;
    for (;;) {
        if (sigwait(signals, &got) != 0) continue;
        log_signal(r, got);
        if (got == SIGTERM || got == SIGINT) return;
        bson_error_t error;
        if (!elmo_listen_reopen_log(r->db, &error)) (void) complain_of(&error);
    }
}

static void close_all(struct running *r) {
    elmo_unlisten(r->db);
    elmo_close(r->db);
    if (r->sv->pid_file != NULL) (void) unlink(r->sv->pid_file);
}

/* The signals are blocked before any thread is made, so that only sigwait takes them. */
static int run(struct running *r) {
    sigset_t signals;
    (void) sigemptyset(&signals);
    (void) sigaddset(&signals, SIGTERM);
    (void) sigaddset(&signals, SIGINT);
    (void) sigaddset(&signals, SIGHUP);
    (void) sigaddset(&signals, SIGUSR1);
    (void) sigprocmask(SIG_BLOCK, &signals, NULL);
    (void) signal(SIGPIPE, SIG_IGN); /* a log that nobody reads any more ends no server */
    int status = open_database(r);
    if (status != 0) return status;
    for (size_t i = 0; status == 0 && i < r->sv->set_parameter_count; i++)
        status = set_parameter(r, r->sv->set_parameters[i]);
    if (status == 0) status = move_old_log(r->sv);
    if (status == 0) status = listen_on(r);
    if (status == 0 && (status = write_pid_file(r->sv)) == 0) {
        log_flags_without_effect(r);
        leave_terminal(r);
        wait_for_the_end(r, &signals);
    }
    close_all(r);
    return status;
}

/* As mongod tells it: the version that clients are told, which is the command set's. */
static int print_version(void) {
    bson_error_t error;
    bson_t command = BSON_INITIALIZER, reply;
    bson_iter_t it;
    struct utsname machine;
    elmo_t *db;
    const char *version = "7.0.0";
    if (!elmo_open(":memory:", NULL, &db, &error)) return complain_of(&error);
    BSON_APPEND_INT32(&command, "buildInfo", 1);
    bool ok = elmo_command_simple(db, "admin", &command, &reply, &error);
    if (ok && bson_iter_init_find(&it, &reply, "version") && BSON_ITER_HOLDS_UTF8(&it))
        version = bson_iter_utf8(&it, NULL);
    if (uname(&machine) != 0) (void) snprintf(machine.machine, sizeof(machine.machine), "unknown");
    printf("db version v%s\n"
           "Build Info: {\n    \"version\": \"%s\",\n    \"gitVersion\": \"elmo %s\",\n    \"modules\": [],\n    "
           "\"allocator\": \"system\",\n"
           "    \"environment\": {\n        \"distarch\": \"%s\",\n        \"target_arch\": \"%s\"\n    }\n}\n",
           version, version, elmo_version(), machine.machine, machine.machine);
    bson_destroy(&command);
    bson_destroy(&reply);
    elmo_close(db);
    return 0;
}

static int serve(int argc, char **argv, int program_argc, char **program_argv, const char *default_db_path) {
    struct serve sv;
    struct running r = {
        .sv = &sv, .argc = program_argc, .argv = program_argv, .default_db_path = default_db_path, .parent = -1};
    int status = serve_parse(argc, argv, &sv);
    if (status != 0) return status;
    if (sv.wants_help) {
        serve_help();
        return 0;
    }
    if (sv.wants_version) return print_version();
    status = choose_path(&r);
    if (status == 0 && sv.fork != NULL) status = go_to_background(&r);
    if (status != 0) return status < 0 ? 0 : status;
    return run(&r);
}

/* argv[-1] is "serve", argv[-2] the program. */
static int run_subcommand(int argc, char **argv) { return serve(argc, argv, argc + 2, argv - 2, NULL); }

const struct subcommand sub_serve = {"serve", "serve FILE | --dbpath DIR",
                                     "let MongoDB's drivers and shell connect, over the network", run_subcommand};

int serve_as_mongod(int argc, char **argv) { return serve(argc - 1, argv + 1, argc, argv, "/data/db"); }
