/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What sources offered and was refused, by kind (docs/formats/records.md). */
#pragma once

#include <stdint.h>

struct follower_refusals {
	uint64_t forged;     /* not signed by the keys, or not such a record at all */
	uint64_t rollback;   /* older than what this mirror has seen */
	uint64_t frozen;     /* expired: somebody keeps newer ones from us */
	uint64_t mismatched; /* another channel, or two heads of one sequence */
	uint64_t wrong_repository;
};
