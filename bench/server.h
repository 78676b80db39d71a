/* The server benchmark: the same requests over loopback by elmo's and PostgreSQL's own client libraries. Each thread has a connection of its own. */
#ifndef ELMO_BENCH_SERVER_H
#define ELMO_BENCH_SERVER_H

#include <stdint.h>

#define CITY_COUNT 200
#define TAG_COUNT 500
#define AGE_MAX 100

/* What document i holds: a profile of about 365 bytes. */
struct profile {
    int64_t id;
    char name[32], email[40], city[16], bio[161];
    int32_t age;
    double score;
    char tags[3][12];
};
void profile_make(struct profile *p, int64_t id);

/* A peer. Every function ends the program when something is wrong: a benchmark of errors is worth nothing. Results are counted, so that no peer answers less than another. */
struct peer {
    const char *name;
    void *(*connect)(const char *where);
    void (*disconnect)(void *connection);
    void (*prepare)(void *connection); /* empty tables and indexes */
    void (*load)(void *connection, int64_t from, int64_t count);
    void (*insert)(void *connection, int64_t id);
    int64_t (*find_id)(void *connection, int64_t id);    /* documents found */
    int64_t (*find_email)(void *connection, int64_t id); /* by a unique index */
    int64_t (*find_age)(void *connection, int32_t age);  /* 20 documents of an age, by an index */
    int64_t (*find_tag)(void *connection, int32_t tag);  /* 20 documents with a tag in their array, by an index */
    int64_t (*aggregate)(void *connection, int32_t age); /* groups: how many of an age and their mean score per city */
    void (*update)(void *connection, int64_t id);        /* a counter by _id */
};
extern const struct peer peer_elmo, peer_postgres;

#endif
