/* Window functions of $setWindowFields: what each row gets from the rows around it in its partition.
 *
 *   window_parse.c   one {$function: argument, window: {...}} -> struct window_field
 *   window_run.c     the rows of a partition -> the window of each row, and what a function makes of it
 *   stage_set_window_fields.c   sorts rows into partitions and puts the results into them
 *
 * W1  Rows are taken in order, each once. So both ends of every window only move on, and a window that slides costs what comes in and goes out:
 *     accumulators that can be merged (sum, average, count, least, greatest, deviation) stand in two stacks (window_run.c); of the others those
 *     whose lower end stays add what comes in, and those that slide take their window anew.
 * W2  What a partition needs lies in its arena; a state's growing parts are counted in accum_run.memory. */
#ifndef ELMO_QUERY_WINDOW_H
#define ELMO_QUERY_WINDOW_H

#include "bson/date.h"
#include "eval/accum.h"
#include "query/pipeline_internal.h"

enum window_bound_kind { BOUND_UNBOUNDED, BOUND_CURRENT, BOUND_OFFSET };

struct window_bound {
    enum window_bound_kind kind;
    int64_t steps;      /* rows, or units of a date */
    struct bval offset; /* of a range of numbers */
};

struct window {
    bool is_range, has_unit;
    enum date_unit unit;
    struct window_bound lower, upper;
};

enum window_function {
    WINDOW_ACCUMULATE, /* any accumulator */
    WINDOW_FIRST,
    WINDOW_LAST,
    WINDOW_RANK,
    WINDOW_DENSE_RANK,
    WINDOW_DOCUMENT_NUMBER,
    WINDOW_SHIFT,
    WINDOW_DERIVATIVE,
    WINDOW_INTEGRAL,
    WINDOW_MOVING_AVERAGE,
    WINDOW_COVARIANCE_POP,
    WINDOW_COVARIANCE_SAMP,
    WINDOW_LINEAR_FILL,
    WINDOW_LOCF,
};

struct window_row {
    uint64_t arrival;
    double score;
    bool has_score;
    uint32_t partition_len, key_len, doc_len; /* key_len: of the partition's and the sort's */
    uint8_t bytes[];                          /* key, document */
};

static inline struct bdoc window_row_doc(const struct window_row *r) {
    return (struct bdoc){r->bytes + r->key_len, r->doc_len};
}
static inline struct slice window_row_order(const struct window_row *r) {
    return slice_of(r->bytes + r->partition_len, r->key_len - r->partition_len);
}

/* The rows of one partition, in order. */
struct window_rows {
    struct pipe_stage *stage;
    const char *name; /* of the stage, for what is said of its memory */
    struct window_row **at;
    size_t count;
    struct bval *order; /* the values of the only field of sortBy; NULL: not asked for */
    struct arena arena;
};

/* What a function keeps while it goes through a partition. */
struct window_state {
    size_t lo, hi; /* the last row's window: rows lo .. hi - 1 */
    bool is_begun;
    struct bval *values; /* the input of each row; NULL: not asked for */
    void *sum;           /* of rows middle .. hi - 1; or of the whole window */
    void *result;        /* a sum that a result points into */
    uint8_t *front;      /* sums of rows i .. middle - 1, for i from front_lo */
    size_t front_lo, middle, front_cap;
    int64_t rank, dense_rank;
    struct bnum average; /* the moving one */
    bool has_average;
    size_t filled, next; /* the rows with a value around the gap that is being filled; SIZE_MAX: none */
    struct bval last;    /* of $locf */
};

struct window_field {
    struct path path;
    enum window_function function;
    const char *name; /* "$sum" */
    struct window window;
    struct accum accum;
    const struct expr *input, *input_y; /* y: of a covariance */
    const struct expr *fallback;        /* $shift's default; NULL: null */
    int64_t by;                         /* $shift */
    bool has_unit;
    enum date_unit unit; /* $derivative, $integral */
    struct decimal alpha_decimal;
    double alpha;
    struct window_state state;
};

/* sort_count: fields of sortBy, 0: none given. sort_ascends: of the only one. */
struct window_place {
    uint32_t sort_count;
    bool sort_ascends;
};
status window_field_parse(struct pipe_parse *ps, const struct window_place *place, struct belem output,
                          struct window_field *out);
/* Does it read the values of sortBy's only field? */
bool window_field_reads_order(const struct window_field *f);
bool window_function_is_known(struct slice name);

/* Once for each partition, before its first row. */
status window_begin(struct window_field *f, struct accum_run *run, struct window_rows *rows, struct err *err);
/* Row i, one after another. The value lives until the next call for this field or the next evaluation in the stage. */
status window_next(struct window_field *f, struct accum_run *run, struct window_rows *rows, size_t i, struct bval *out,
                   struct err *err);
void window_end(struct window_field *f, struct accum_run *run); /* also a zeroed one, and twice */

#endif
