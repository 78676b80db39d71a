/* Runs the tests that the constructors of criterion/criterion.h listed. */
#include "criterion/criterion.h"

struct bare_test *bare_first, **bare_last = &bare_first;

int main(int argc, char **argv) {
    const char *only = argc == 2 && argv[1][0] != '-' ? argv[1] : NULL;
    size_t count = 0;
    for (struct bare_test *t = bare_first; t != NULL; t = t->next) {
        if (only != NULL && strcmp(only, t->name) != 0) continue;
        fprintf(stderr, "%s: %s\n", t->suite, t->name);
        t->run();
        count++;
    }
    fprintf(stderr, "%zu tests passed\n", count);
    return count == 0;
}
