/* SPDX-License-Identifier: GPL-3.0-or-later */
/* odd: the parts of the odd tree's builder. */
#ifndef TESTS_TREES_ODD_H
#define TESTS_TREES_ODD_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct odd {
	int root;
	bool with_socket;
	unsigned failures;
};

/*
 * Judges the outcome @r (0 or -errno) of making @what of @path: what cannot be stored
 * here is noted, anything else counts as a failure.
 */
void odd_check(struct odd *odd, const char *path, const char *what, int r);

/* A modification time of our own days, with nanoseconds, made of @hash. */
struct timespec odd_time(uint64_t hash);

/* The entries that carry odd modes, owners, times, xattrs and ACLs; then these
 * themselves, set last because they may lock the builder out or must survive the stamping
 * of times. */
void odd_make_attributes(struct odd *odd);
void odd_set_attributes(struct odd *odd);

/* Makes the tree's second version; prints each step as "VERB PATH". */
void odd_mutate(struct odd *odd);

#endif
