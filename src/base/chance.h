/* A small seeded generator for skip lists, sampling and simulations: xoshiro256++ (Blackman and Vigna, 2019), seeded by
 * splitmix64. Not for secrets. The caller owns the state; one thread at a time. */
#ifndef ELMO_BASE_CHANCE_H
#define ELMO_BASE_CHANCE_H

#include <stdint.h>

struct chance {
    uint64_t s[4];
};

static inline void chance_init(struct chance *c, uint64_t seed) {
    for (int i = 0; i < 4; i++) {
        uint64_t z = (seed += 0x9e3779b97f4a7c15u);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        c->s[i] = z ^ (z >> 31);
    }
}

static inline uint64_t chance_rotl(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

static inline uint64_t chance_next(struct chance *c) {
    uint64_t *s = c->s, r = chance_rotl(s[0] + s[3], 23) + s[0], t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = chance_rotl(s[3], 45);
    return r;
}

/* Evenly in [0, n), n > 0, by multiplication (bias below 2^-32 for n < 2^32). */
static inline uint64_t chance_below(struct chance *c, uint64_t n) {
    return (uint64_t) (((unsigned __int128) chance_next(c) * n) >> 64);
}

#endif
