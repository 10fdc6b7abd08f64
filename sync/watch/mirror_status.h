/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a mirror's daemon tells of itself over the control socket, and how the commands read
 * it. The JSON's fields are listed in docs/man/depotfs.1.scd.
 */
#pragma once

#include "cache/base/buffer.h"
#include "cache/source.h"

#include <stdint.h>

struct mirror_status {
	const char *mountpoint;
	const char *cache;
	const char *repository;
	const char *channel;
	uint64_t revision;
	int64_t published_ns;
	uint64_t tree_entries;
	uint64_t tree_bytes;
	uint64_t cache_used;
	struct source_status source;
};

/* Answers a control request: {"verb":"status"} with the status, anything else with an error
 * object. 0 or -errno. */
int mirror_status_answer(const struct mirror_status *status, const char *request,
	struct buffer *reply) WARN_UNUSED;

/* Asks the daemon of `mountpoint`; the reply is a JSON text with a NUL. Failures are logged
 * with a remedy. */
int mirror_status_ask(const char *mountpoint, struct buffer *reply) WARN_UNUSED;
