/* Fixed-width integers in bytes. le: as files and BSON have them; be: as ordered keys have them. Unaligned access is fine. */
#ifndef ELMO_BASE_ENDIAN_H
#define ELMO_BASE_ENDIAN_H

#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "elmo is built for little-endian machines"
#endif

static inline uint16_t get_le16(const void *p) {
    uint16_t v;
    memcpy(&v, p, 2);
    return v;
}
static inline uint32_t get_le32(const void *p) {
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}
static inline uint64_t get_le64(const void *p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}
static inline void put_le16(void *p, uint16_t v) { memcpy(p, &v, 2); }
static inline void put_le32(void *p, uint32_t v) { memcpy(p, &v, 4); }
static inline void put_le64(void *p, uint64_t v) { memcpy(p, &v, 8); }
static inline uint16_t get_be16(const void *p) { return __builtin_bswap16(get_le16(p)); }
static inline uint32_t get_be32(const void *p) { return __builtin_bswap32(get_le32(p)); }
static inline uint64_t get_be64(const void *p) { return __builtin_bswap64(get_le64(p)); }
static inline void put_be16(void *p, uint16_t v) { put_le16(p, __builtin_bswap16(v)); }
static inline void put_be32(void *p, uint32_t v) { put_le32(p, __builtin_bswap32(v)); }
static inline void put_be64(void *p, uint64_t v) { put_le64(p, __builtin_bswap64(v)); }

#endif
