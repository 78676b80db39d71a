/* Random BSON: values of every type with a taste for the awkward (equal numbers of different types, neighbours of powers of two, decimals
 * beside doubles, NaN of both kinds, zero bytes in strings, empty everything). The same generator state gives the same values. */
#ifndef ELMO_TESTS_RANDOM_BSON_H
#define ELMO_TESTS_RANDOM_BSON_H

#include "base/buf.h"
#include "base/chance.h"
#include "bson/build.h"
#include "bson/value.h"

/* Any number. */
struct bnum random_number(struct chance *chance);
/* Appends one element of any type; documents and arrays nest up to `depth` levels. */
void random_elem(struct chance *chance, struct bbuild *b, struct slice name, int depth);
/* A document of up to `fields` fields, at the end of buf. The names are few, so that paths hit. */
struct bdoc random_doc(struct chance *chance, struct buf *buf, int fields, int depth);
/* One value, built in buf (cleared first) and valid until it changes. */
struct bval random_value(struct chance *chance, struct buf *buf, int depth);
/* The seed of a random test: ELMO_SEED, or `seed`. */
uint64_t random_seed(uint64_t seed);
/* How many rounds: ELMO_ROUNDS times as many, or `rounds`. */
uint64_t random_rounds(uint64_t rounds);

#endif
