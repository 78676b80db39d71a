/* Listening sockets. */
#include "server/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/fault.h"

#define BACKLOG 1024

/* ---- addresses as text ---- */

static bool is_loopback(const struct sockaddr_storage *sa) {
    if (sa->ss_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof(in));
        return ntohl(in.sin_addr.s_addr) >> 24 == 127;
    }
    struct sockaddr_in6 in6;
    memcpy(&in6, sa, sizeof(in6));
    return IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr) ||
        (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr) && in6.sin6_addr.s6_addr[12] == 127);
}

static unsigned port_of(const struct sockaddr_storage *sa) {
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    memcpy(&in, sa, sizeof(in));
    memcpy(&in6, sa, sizeof(in6));
    return ntohs(sa->ss_family == AF_INET ? in.sin_port : in6.sin6_port);
}

static void text_of(const struct sockaddr_storage *sa, char *out, size_t len) {
    char host[INET6_ADDRSTRLEN] = "?";
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    memcpy(&in, sa, sizeof(in));
    memcpy(&in6, sa, sizeof(in6));
    if (sa->ss_family == AF_INET) (void) inet_ntop(AF_INET, &in.sin_addr, host, sizeof(host));
    else (void) inet_ntop(AF_INET6, &in6.sin6_addr, host, sizeof(host));
    (void) snprintf(out, len, sa->ss_family == AF_INET ? "%s:%u" : "[%s]:%u", host, port_of(sa));
}

void peer_text(const struct sockaddr_storage *peer, const struct address *at, char *out, size_t len, bool *is_local) {
    *is_local = at->is_unix || is_loopback(peer);
    if (at->is_unix) (void) snprintf(out, len, "%.*s", (int) len - 1, at->text);
    else text_of(peer, out, len);
}

/* ---- TCP ---- */

static bool refuse_bind(const char *text, int why, bson_error_t *error) {
    if (why == EADDRINUSE)
        return fault(error, FAULT_SOCKET,
                     "Failed to set up listener: SocketException: Address already in use: %s; another server listens "
                     "there: stop it or choose another port",
                     text);
    if (why == EACCES)
        return fault(error, FAULT_SOCKET,
                     "Failed to set up listener: SocketException: Permission denied: %s; ports below 1024 need "
                     "privileges: choose a higher one",
                     text);
    if (why == EADDRNOTAVAIL)
        return fault(error, FAULT_SOCKET,
                     "Failed to set up listener: SocketException: Cannot assign requested address: %s is no address of "
                     "this machine",
                     text);
    return fault(error, FAULT_SOCKET, "Failed to set up listener: SocketException: %s: %s", strerror(why), text);
}

static bool add_address(struct addresses *out, struct address *a, bson_error_t *error) {
    if (out->count < ADDRESSES_MAX) {
        out->of[out->count++] = *a;
        return true;
    }
    (void) close(a->fd);
    return fault(error, FAULT_BAD_VALUE, "option 'bindIp' names more than %d addresses", ADDRESSES_MAX);
}

static bool listen_tcp(struct addresses *out, const struct addrinfo *ai, const struct options *o, bson_error_t *error) {
    struct address a = {.fd = -1};
    struct sockaddr_storage sa = {0};
    socklen_t sa_len = sizeof(sa);
    int on = 1;
    memcpy(&sa, ai->ai_addr, ai->ai_addrlen);
    a.is_loopback = is_loopback(&sa);
    text_of(&sa, a.text, sizeof(a.text));
    if (!a.is_loopback && !o->auth && !o->allow_unsafe_bind)
        return fault(error, FAULT_BAD_VALUE,
                     "%s can be reached from other machines, and clients need not log in: switch logins on (auth), or "
                     "say that this is meant (allowUnsafeBind)",
                     a.text);
    a.fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (a.fd < 0) return refuse_bind(a.text, errno, error);
    (void) setsockopt(a.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (ai->ai_family == AF_INET6) (void) setsockopt(a.fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    if (bind(a.fd, ai->ai_addr, ai->ai_addrlen) != 0 || listen(a.fd, BACKLOG) != 0 ||
        getsockname(a.fd, (struct sockaddr *) &sa, &sa_len) != 0) {
        int why = errno;
        (void) close(a.fd);
        return refuse_bind(a.text, why, error);
    }
    text_of(&sa, a.text, sizeof(a.text));
    if (out->port == 0) out->port = port_of(&sa);
    return add_address(out, &a, error);
}

/* One name of bindIp: all its addresses. `may_lack`: that it cannot be had is no error. */
static bool listen_host(struct addresses *out, const char *host, bool may_lack, const struct options *o,
                        bson_error_t *error) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found = NULL;
    char service[8];
    unsigned before = out->count;
    /* when the system chooses the port it is the same on all addresses */
    (void) snprintf(service, sizeof(service), "%u", out->port != 0 ? out->port : (unsigned) o->port);
    int rc = getaddrinfo(host, service, &hints, &found);
    if (rc != 0)
        return may_lack || fault(error, FAULT_SOCKET, "'%s' is no address to listen on: %s", host, gai_strerror(rc));
    bool ok = true;
    for (const struct addrinfo *ai = found; ok && ai != NULL; ai = ai->ai_next)
        if (ai->ai_family == AF_INET || ai->ai_family == AF_INET6) ok = listen_tcp(out, ai, o, error);
    freeaddrinfo(found);
    if (!ok && may_lack) return true;
    if (ok && out->count == before) return fault(error, FAULT_SOCKET, "'%s' has no address to listen on", host);
    return ok;
}

/* ---- unix sockets ---- */

/* A socket file that nobody listens on any more is removed; anything else stays. */
static bool remove_stale(const char *path, const struct sockaddr_un *un, bson_error_t *error) {
    struct stat st;
    if (lstat(path, &st) != 0) return true;
    if (!S_ISSOCK(st.st_mode))
        return fault(error, FAULT_SOCKET, "'%s' is in the way: it is no socket, so it is not removed", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return refuse_bind(path, errno, error);
    int rc = connect(fd, (const struct sockaddr *) un, sizeof(*un)), why = errno;
    (void) close(fd);
    if (rc == 0 || why != ECONNREFUSED) return refuse_bind(path, EADDRINUSE, error);
    if (unlink(path) == 0 || errno == ENOENT) return true;
    return fault(error, FAULT_SOCKET, "the stale socket '%s' cannot be removed: %s", path, strerror(errno));
}

static bool listen_unix(struct addresses *out, const char *path, bson_error_t *error) {
    struct address a = {.fd = -1, .is_unix = true, .is_loopback = true};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(un.sun_path))
        return fault(error, FAULT_SOCKET, "the path of the unix socket is longer than %zu bytes: %s",
                     sizeof(un.sun_path) - 1, path);
    memcpy(un.sun_path, path, strlen(path) + 1);
    (void) snprintf(a.text, sizeof(a.text), "%s", path);
    if (!remove_stale(path, &un, error)) return false;
    a.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (a.fd < 0) return refuse_bind(path, errno, error);
    /* Linux gives the file the mode of the socket: at no time may others connect. */
    if (fchmod(a.fd, 0600) != 0 || bind(a.fd, (const struct sockaddr *) &un, sizeof(un)) != 0) {
        int why = errno;
        (void) close(a.fd);
        return refuse_bind(path, why, error);
    }
    if (chmod(path, 0600) != 0 || lstat(path, &a.made) != 0 || listen(a.fd, BACKLOG) != 0) {
        int why = errno;
        (void) close(a.fd);
        (void) unlink(path);
        return refuse_bind(path, why, error);
    }
    if (add_address(out, &a, error)) return true;
    (void) unlink(path);
    return false;
}

/* ---- all ---- */

static bool open_one(struct addresses *out, const char *name, const struct options *o, bson_error_t *error) {
    if (name[0] == '/' || strncmp(name, "./", 2) == 0) return listen_unix(out, name, error);
    if (strcmp(name, "*") == 0)
        return listen_host(out, "0.0.0.0", false, o, error) && listen_host(out, "::", true, o, error);
    if (strcmp(name, "localhost") == 0)
        return listen_host(out, "127.0.0.1", false, o, error) && listen_host(out, "::1", true, o, error);
    size_t len = strlen(name);
    if (len > 2 && name[0] == '[' && name[len - 1] == ']') { /* [::1], as in URIs */
        char inner[64];
        (void) snprintf(inner, sizeof(inner), "%.*s", (int) (len - 2 < 63 ? len - 2 : 63), name + 1);
        return listen_host(out, inner, false, o, error);
    }
    return listen_host(out, name, false, o, error);
}

static bool open_all(struct addresses *out, const struct options *o, bson_error_t *error) {
    char *names = strdup(o->bind_ip), *rest = names, *name;
    bool ok = names != NULL || fault_memory(error);
    while (ok && (name = strsep(&rest, ",")) != NULL) {
        name += strspn(name, " ");
        name[strcspn(name, " ")] = '\0';
        if (name[0] != '\0') ok = open_one(out, name, o, error);
    }
    free(names);
    if (ok && o->unix_path != NULL) ok = listen_unix(out, o->unix_path, error);
    if (ok && out->count == 0)
        return fault(error, FAULT_BAD_VALUE, "there is nothing to listen on: give bindIp or unixSocketPath");
    return ok;
}

bool addresses_open(struct addresses *out, const struct options *o, bson_error_t *error) {
    *out = (struct addresses){0};
    if (open_all(out, o, error)) return true;
    addresses_close(out);
    return false;
}

void addresses_close(struct addresses *a) {
    for (unsigned i = 0; i < a->count; i++) {
        struct stat now;
        struct address *one = &a->of[i];
        (void) close(one->fd);
        if (one->is_unix && lstat(one->text, &now) == 0 && now.st_dev == one->made.st_dev &&
            now.st_ino == one->made.st_ino)
            (void) unlink(one->text);
    }
    a->count = 0;
}

void addresses_uri(const struct addresses *a, char *out, size_t len) {
    const struct address *one = &a->of[0];
    for (unsigned i = 0; i < a->count && one->is_unix; i++) one = &a->of[i];
    size_t at = (size_t) snprintf(out, len, "mongodb://");
    for (const char *p = one->text; *p != '\0' && at + 4 < len; p++)
        at += (size_t) snprintf(out + at, len - at, one->is_unix && *p == '/' ? "%%2F" : "%c", *p);
}
