/* The client's side of SCRAM, as a driver has it. Independent of src/command/scram.c. */
#ifndef TESTS_SUPPORT_SCRAM_CLIENT_H
#define TESTS_SUPPORT_SCRAM_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

struct scram_client {
    bool is_sha256;
    char user[256], secret[512]; /* escaped; as PBKDF2 takes it */
    char nonce[64];
    char first_bare[512];
    char final[1024];
    char signature[64]; /* that the server must give: "v=..." */
};

/* The password is ASCII, or prepared already. */
void scram_client_init(struct scram_client *c, const char *mechanism, const char *user, const char *password,
                       const char *nonce);
/* "n,,n=...,r=..." */
const char *scram_client_first(struct scram_client *c, char text[600]);
/* From server-first; false when it makes no sense. ->final and ->signature are there then. */
bool scram_client_final(struct scram_client *c, const char *server_first, size_t len);

#endif
