/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Verifies a depot from its trust document down to the last frame.
 *
 *	struct check_report report;
 *	r = check_depot(path, NULL, is_deep, threads, &report);
 *	...
 *	check_report_release(&report);
 */
#pragma once

#include "cache/base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHECK_TEXT_SIZE 512

/* Something that falls short: what, and how to mend it. */
struct check_fault {
	char object[160];
	char text[CHECK_TEXT_SIZE];
};

struct check_report {
	struct check_fault *faults;
	size_t fault_count;
	uint64_t channels;
	uint64_t policies;
	uint64_t revisions;
	uint64_t catalogs;
	uint64_t packs;
	uint64_t pack_bytes;
	uint64_t frames; /* decoded: deep only */
	uint64_t chunks;
	uint64_t contents;
	uint64_t orphans; /* objects that no revision or head needs */
	uint64_t orphan_bytes;
};

/* `key_path` as in depot_trust(). Returns 0 when the report is complete, with or without
 * faults; -errno, logged, when the check itself failed. */
int check_depot(const char *path, const char *key_path, bool is_deep,
	unsigned int threads, struct check_report *out) WARN_UNUSED;

void check_report_release(struct check_report *report);
