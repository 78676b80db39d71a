/* The sockets that the server listens on: TCP over IPv4 and IPv6, unix sockets. */
#ifndef ELMO_SERVER_ADDRESS_H
#define ELMO_SERVER_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "server/options.h"

#define ADDRESSES_MAX 16
#define ADDRESS_TEXT_MAX 160

struct address {
    int fd;
    bool is_unix, is_loopback;
    char text[ADDRESS_TEXT_MAX]; /* "127.0.0.1:27017", "[::1]:27017", "/tmp/mongodb-27017.sock" */
    struct stat made;            /* of a unix socket: what is removed must be it */
};

struct addresses {
    struct address of[ADDRESSES_MAX];
    unsigned count;
    unsigned port; /* of TCP; 0: none */
};

/* Binds and listens on all that the options name; on failure none is left. `is_safe` false: some address is not loopback. */
bool addresses_open(struct addresses *out, const struct options *o, bson_error_t *error);
/* Closes them and removes the unix sockets. */
void addresses_close(struct addresses *a);
/* As a URI: "mongodb://127.0.0.1:27017". */
void addresses_uri(const struct addresses *a, char *out, size_t len);

/* The peer as text: "127.0.0.1:50312"; for a unix socket its path. Is it on this machine? */
void peer_text(const struct sockaddr_storage *peer, const struct address *at, char *out, size_t len, bool *is_local);

#endif
