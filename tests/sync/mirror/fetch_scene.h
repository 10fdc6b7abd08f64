/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the tests of fetching stand on: one depot for all tests of a program, a fetcher, and many
 * requests at once.
 *
 *	cmocka_run_group_tests(tests, make_depot, drop_depot)
 */
#pragma once

#include "sync/mirror/fetcher.h"
#include "tests/sync/mirror/depot.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define TIMEOUT_MS 1500

/* Of what is to succeed, or to fail for another reason than that its time is up: a busy machine is none. */
#define PATIENT_MS 120000

/* In which what would wait for ever is told from what is slow. */
#define PATIENT_S 120

extern struct depot depot;

int make_depot(void **state);
int drop_depot(void **state);

/* With TIMEOUT_MS. */
struct fetcher *open_fetcher(const char *urls);
struct fetcher *open_patient_fetcher(const char *urls, int timeout_ms);

/* wait_init(), wait_end() and wait_release() for `count` of them; each must end well. */
void wait_init_all(struct waited *w, size_t count, enum fetch_class class);
void wait_end_all(struct waited *w, size_t count, int seconds);
void wait_release_all(struct waited *w, size_t count);

/* Frees the fetcher, which ends them with -ECANCELED and at once, and releases them. */
void wait_shut_down(struct waited *w, size_t count, struct fetcher *fetcher);
