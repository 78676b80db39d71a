/* MongoDB's wire protocol as bytes: messages in, heads of answers out. Pure: no I/O, no memory of its own, no clock.
 *
 *   message   0 4 length (this head included)   4 4 request id   8 4 response to   12 4 opcode   16 the body
 *
 *   OP_MSG         2013   flags 4 | sections ... | CRC-32C 4, when flag bit 0 says so
 *                         section: 0 | document                             the command; exactly one
 *                                  1 | length 4 | name NUL | documents ...  a sequence, in place of the command's array of that name
 *   OP_QUERY       2004   flags 4 | namespace NUL | skip 4 | limit 4 | document [| document]
 *   OP_REPLY          1   flags 4 | cursor 8 | starting from 4 | count 4 | documents ...
 *   OP_COMPRESSED  2012   opcode 4 | length of the body 4 | compressor 1 | the compressed body
 *
 * Integers are little-endian. What is wrong with a message is of two kinds, as in MongoDB: when its bounds or its head cannot be trusted the connection
 * ends; when only its sections are wrong it is answered with the error.
 *
 *   F1  Whatever the bytes: nothing outside of the message is read, and everything that a struct request points to lies in the message.
 *   F2  A document is taken by its length alone (5 or more, inside of the message, its last byte 0); what is in it is checked by whoever reads it. */
#ifndef ELMO_SERVER_FRAME_H
#define ELMO_SERVER_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <elmo/client.h>

#define FRAME_HEAD_LEN 16u
#define FRAME_LEN_MAX 48000000u /* MongoDB's MaxMessageSizeBytes */
#define FRAME_COMPRESSED_LEN 9u /* what an OP_COMPRESSED has before the compressed bytes */
#define FRAME_SEQUENCES_MAX 8   /* a command has one kind of sequence, bulkWrite has two */
#define FRAME_DB_LEN_MAX 64u

enum frame_opcode { OP_REPLY = 1, OP_QUERY = 2004, OP_COMPRESSED = 2012, OP_MSG = 2013 };
enum frame_flag { MSG_CHECKSUM = 1u << 0, MSG_MORE_TO_COME = 1u << 1, MSG_EXHAUST_ALLOWED = 1u << 16 };
enum frame_compressor { COMPRESSOR_NOOP, COMPRESSOR_SNAPPY, COMPRESSOR_ZLIB, COMPRESSOR_ZSTD, COMPRESSOR_COUNT };

struct frame_head {
    uint32_t len;
    int32_t request_id, response_to, opcode;
};

/* Why a message is refused. */
struct frame_fault {
    bool is_fatal; /* the connection ends; else the error is the answer */
    int32_t code;
    const char *code_name;
    char text[192];
};

/* A command as it came. */
struct request {
    int32_t id;
    int32_t opcode; /* OP_MSG or OP_QUERY */
    uint32_t flags; /* enum frame_flag; 0 for OP_QUERY */
    const uint8_t *body;
    size_t body_len;
    elmo_sequence_t sequences[FRAME_SEQUENCES_MAX];
    size_t sequence_count;
    char db_name[FRAME_DB_LEN_MAX]; /* of an OP_QUERY; empty: the body's $db tells */
};

/* Reads the head from the first FRAME_HEAD_LEN bytes. False (fatal): the length is impossible, or the opcode is none that is understood. */
bool frame_head_decode(const uint8_t *p, struct frame_head *out, struct frame_fault *fault);
void frame_head_encode(const struct frame_head *head, uint8_t out[FRAME_HEAD_LEN]);

/* Reads a whole OP_MSG or OP_QUERY of `len` bytes. After a fault that is not fatal `out` tells what is needed to answer. */
bool frame_decode(const uint8_t *p, size_t len, struct request *out, struct frame_fault *fault);

/* What an OP_COMPRESSED carries. */
struct frame_packed {
    struct frame_head head; /* of the message inside; its len is FRAME_HEAD_LEN and what the body unpacks to */
    uint8_t compressor;     /* < COMPRESSOR_COUNT */
    const uint8_t *bytes;
    size_t len;
};
/* Reads a whole OP_COMPRESSED. False (fatal): an unknown compressor, a length above FRAME_LEN_MAX, one OP_COMPRESSED in another. */
bool frame_packed_decode(const uint8_t *p, size_t len, struct frame_packed *out, struct frame_fault *fault);

/* The name of the command: the first key of the body. "" for an empty one. At most `len` - 1 bytes are copied. */
void request_name(const struct request *r, char *out, size_t len);
/* May an answer to this command be compressed? Not for logins, lest secrets show in lengths, nor for hello. The list is the protocol's. */
bool request_is_compressible(const char *name);
/* May this command come as an OP_QUERY? As in MongoDB 7.0: hello and what old drivers log in with. */
bool request_is_legacy(const char *name);

#define FRAME_ANSWER_HEAD_MAX 36u
/* The bytes before the document of an answer of `doc_len` bytes. An answer to a message with a checksum has one too: `checksum_follows` 4 bytes longer.
 * Returns how many bytes. */
size_t frame_answer_head(const struct request *r, int32_t answer_id, size_t doc_len,
                         uint8_t out[FRAME_ANSWER_HEAD_MAX]);
/* The head of an OP_COMPRESSED around `packed_len` bytes of a body of `body_len`. */
void frame_packed_head(const struct frame_head *inner, uint8_t compressor, size_t packed_len,
                       uint8_t out[FRAME_HEAD_LEN + FRAME_COMPRESSED_LEN]);

#define FRAME_FAULT_DOC_MAX 384u
/* {ok: 0, errmsg, code, codeName} as BSON, without memory. Returns its length. */
size_t frame_fault_doc(const struct frame_fault *fault, uint8_t out[FRAME_FAULT_DOC_MAX]);

#endif
