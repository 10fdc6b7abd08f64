/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A source (cache/source.h) in memory, with threads of its own and switches for whatever a
 * network does. Serves what catalog_builder.h has built.
 *
 *	struct fake_source *fake = fake_source_new();
 *	fake_source_serve(fake, built);		(borrowed)
 *	... give fake_source_of(fake) to a view or a content store ...
 *	fake_source_free(fake);			(ends what is waiting with -ECANCELED)
 *
 * As catalog_builder.h it aborts when memory is short. Any thread may switch and count.
 */
#pragma once

#include "cache/source.h"
#include "tests/support/catalog_builder.h"

struct fake_source;

struct fake_source *fake_source_new(void);
void fake_source_free(struct fake_source *fake);
struct source *fake_source_of(struct fake_source *fake);

void fake_source_serve(struct fake_source *fake, const struct built_catalog *built);

/* Every request ends with `error` from now on; 0: they are answered again. */
void fake_source_fail(struct fake_source *fake, int error);

/* Requests are taken and not answered, until fake_source_release() or, with -ECANCELED,
 * fake_source_cancel(). */
void fake_source_hold(struct fake_source *fake);
void fake_source_release(struct fake_source *fake);
void fake_source_cancel(struct fake_source *fake);

/* The next frame arrives with a flipped bit; when it is refused, once more and sound. */
void fake_source_corrupt_once(struct fake_source *fake);

/* As if every source lied: a frame that is refused fails its request with -EBADMSG. */
void fake_source_corrupt_always(struct fake_source *fake);

/* Waits until `count` requests are held (at most some seconds); whether they are. */
bool fake_source_wait_held(struct fake_source *fake, unsigned int count);

/* Waits until nothing is queued, held or being answered. */
bool fake_source_wait_idle(struct fake_source *fake);

/* How often this frame was asked for; all frames of demand requests; requests for catalogs. */
unsigned int fake_source_count(
	struct fake_source *fake, const struct built_catalog *built, uint32_t frame);
unsigned int fake_source_count_frames(struct fake_source *fake);
unsigned int fake_source_count_catalogs(struct fake_source *fake);
/* Frames that deliver() refused with -EBADMSG. */
unsigned int fake_source_count_refused(struct fake_source *fake);
