/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One lie at a time in a sound catalog, and the reason it is refused for. The last test reads
 * cache/catalog/catalog_check.c and fails on a reason that no lie here reaches.
 */
#include "tests/cache/support.h"

#include "cache/base/disk/io.h"
#include "cache/base/memory.h"
#include "cache/catalog/catalog_check.h"
#include "tests/cache/sample_catalog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* The sections of a copy that may be written to. */
struct forged {
	uint8_t *data;
	size_t len;
	struct catalog_header *header;
	struct catalog_entry *entries;
	char *names;
	uint32_t *folded;
	char *targets;
	struct catalog_xattr_set *xattrs;
	uint8_t *xattr_data;
	struct catalog_content *contents;
	struct catalog_piece *pieces;
	struct catalog_chunk *chunks;
	struct catalog_frame *frames;
	struct catalog_pack *packs;
	struct catalog_nested *nested;
};

static void *section(struct forged *f, enum catalog_section s)
{
	return f->data + f->header->sections[s].offset;
}

/* Of the sample. */
static struct forged forge(void)
{
	struct built_catalog *built = sample_catalog();
	struct forged f = {.len = built->len, .data = malloc(built->len)};

	assert_non_null(f.data);
	memcpy(f.data, built->data, f.len);
	built_free(built);
	f.header = (void *)f.data;
	f.entries = section(&f, CATALOG_ENTRIES);
	f.names = section(&f, CATALOG_NAMES);
	f.folded = section(&f, CATALOG_FOLDED);
	f.targets = section(&f, CATALOG_TARGETS);
	f.xattrs = section(&f, CATALOG_XATTRS);
	f.xattr_data = section(&f, CATALOG_XATTR_DATA);
	f.contents = section(&f, CATALOG_CONTENTS);
	f.pieces = section(&f, CATALOG_PIECES);
	f.chunks = section(&f, CATALOG_CHUNKS);
	f.frames = section(&f, CATALOG_FRAMES);
	f.packs = section(&f, CATALOG_PACKS);
	f.nested = section(&f, CATALOG_NESTED);
	return f;
}

static void forged_release(struct forged *f)
{
	free(f->data);
}

#define AUTO_FORGED CLEANUP(forged_release)

static struct catalog_entry *entry(struct forged *f, const char *name)
{
	for (uint32_t i = 0; i < f->header->sections[CATALOG_ENTRIES].count; i++) {
		struct catalog_entry *e = &f->entries[i];

		if (e->name_length == strlen(name) &&
			memcmp(f->names + e->name, name, strlen(name)) == 0)
			return e;
	}
	fail_msg("the sample has no %s", name);
	return NULL;
}

static char *name_of(struct forged *f, const char *name)
{
	return f->names + entry(f, name)->name;
}

static struct catalog_content *content(struct forged *f, const char *name)
{
	return &f->contents[entry(f, name)->first];
}

static struct catalog_piece *piece(struct forged *f, const char *name)
{
	return &f->pieces[content(f, name)->first_piece];
}

static struct catalog_chunk *chunk(struct forged *f, const char *name)
{
	return &f->chunks[piece(f, name)->chunk];
}

#define LIE(name, statement)                                                             \
	static void name(struct forged *f)                                               \
	{                                                                                \
		statement;                                                               \
	}

LIE(magic_of_something_else, f->header->magic[7] = 'D')
LIE(version_of_tomorrow, f->header->version = CATALOG_VERSION + 1)
LIE(length_too_long, f->header->total_bytes += 8)
LIE(length_too_short, f->header->total_bytes -= 8)
LIE(too_few_sections, f->header->section_count = CATALOG_PUBLISHED_SECTIONS - 1)
LIE(too_many_sections, f->header->section_count = CATALOG_HEADER_SECTIONS + 1)
LIE(section_not_aligned, f->header->sections[CATALOG_PATH].offset += 4)
LIE(section_behind_the_end, f->header->sections[CATALOG_PATH].offset = f->len + 8)
LIE(section_too_long, f->header->sections[CATALOG_CHUNKS].count = f->len / 56 + 1)
LIE(section_that_wraps, f->header->sections[CATALOG_ENTRIES].count = UINT64_MAX / 80 + 2)
LIE(section_of_no_end, f->header->sections[CATALOG_NAMES].count = UINT32_MAX)
LIE(composed_without_a_local_part, f->header->flags = CATALOG_COMPOSED)

static void use_as_local(struct forged *f, uint64_t count)
{
	f->header->section_count = CATALOG_SECTIONS;
	f->header->sections[CATALOG_LOCAL] = (struct catalog_section_ref){
		f->header->sections[CATALOG_NESTED].offset, count};
}

LIE(local_part_of_a_published_one, use_as_local(f, 1))
LIE(local_part_too_long, (use_as_local(f, 2), f->header->flags = CATALOG_COMPOSED))
LIE(no_entry, f->header->sections[CATALOG_ENTRIES].count = 0)
LIE(second_order_too_short, f->header->sections[CATALOG_FOLDED].count--)

static void use_as_path(struct forged *f, const char *path)
{
	/* room that is there: the targets are not looked at before the path */
	memcpy(f->targets, path, strlen(path));
	f->header->sections[CATALOG_PATH].offset =
		f->header->sections[CATALOG_TARGETS].offset;
	f->header->sections[CATALOG_PATH].count = strlen(path);
}

LIE(path_with_dots, use_as_path(f, ".."))
LIE(path_from_the_root, use_as_path(f, "/a"))
LIE(path_with_a_trailing_slash, use_as_path(f, "a/"))
LIE(path_with_two_slashes, use_as_path(f, "a//b"))

LIE(top_that_is_a_file, f->entries[0].mode = S_IFREG | 0644)
LIE(top_with_a_name, f->entries[0].name_length = 1)
LIE(name_outside, entry(f, "big")->name = 1 << 30)
LIE(name_past_the_end,
	entry(f, "big")->name = (uint32_t)f->header->sections[CATALOG_NAMES].count - 2)
LIE(name_of_no_length, entry(f, "big")->name_length = 0)
LIE(name_too_long, entry(f, "big")->name_length = CATALOG_NAME_MAX + 1)
LIE(name_dot, *name_of(f, "a") = '.')
LIE(name_dot_dot, memcpy(name_of(f, "to"), "..", 2))
LIE(name_with_a_slash, name_of(f, "big")[1] = '/')
LIE(name_with_a_nul, name_of(f, "big")[1] = '\0')
LIE(parent_behind_its_child, entry(f, "big")->parent = UINT32_MAX)
LIE(parent_of_itself, entry(f, "a")->parent = (uint32_t)(entry(f, "a") - f->entries))
LIE(parent_that_is_a_file,
	entry(f, "link")->parent = (uint32_t)(entry(f, "small") - f->entries))
LIE(parent_that_is_nested,
	entry(f, "link")->parent = (uint32_t)(entry(f, "pack") - f->entries))
LIE(parent_that_has_another,
	entry(f, "link")->parent = (uint32_t)(entry(f, "a") - f->entries))
LIE(directory_that_lost_a_child, entry(f, "a")->count--)

LIE(pieces_outside, content(f, "big")->first_piece = UINT32_MAX)
LIE(too_many_pieces, content(f, "sparse")->piece_count = 1000)
LIE(content_of_no_size, content(f, "small")->size = 0)
LIE(content_of_impossible_size, content(f, "small")->size = UINT64_MAX)
LIE(piece_of_no_chunk, piece(f, "big")->chunk = 1000)
LIE(piece_past_the_content, piece(f, "sparse")->position = 9997)
LIE(piece_far_away, piece(f, "sparse")->position = UINT64_MAX - 1)
LIE(pieces_that_overlap, piece(f, "big")[1].position--)
LIE(pieces_out_of_order, piece(f, "big")[2].position = 0)
LIE(content_that_is_not_its_chunk, content(f, "small")->digest.bytes[0] ^= 1)
LIE(data_that_does_not_add_up, content(f, "sparse")->data_bytes++)

static void contents_that_share_pieces(struct forged *f)
{
	/* a file of the same length, so that all else adds up */
	f->contents[1] = f->contents[0];
}

LIE(chunk_of_no_frame, chunk(f, "big")->frame = 1000)
LIE(chunk_of_no_length, (chunk(f, "big")->length = 0, piece(f, "big")->position = 0,
				content(f, "big")->data_bytes = 200))
LIE(chunk_past_its_frame, chunk(f, "small")->offset = 1 << 20)
LIE(chunk_of_no_content, chunk(f, "big")->content = 1000)
LIE(chunk_whose_owner_is_another, chunk(f, "big")->content = entry(f, "small")->first)
LIE(chunk_whose_piece_is_another, chunk(f, "big")->piece++)
LIE(chunk_whose_piece_is_nowhere, chunk(f, "big")->piece = UINT32_MAX)
LIE(chunk_that_its_frame_does_not_list, f->frames[0].chunk_count--)

LIE(frame_of_no_pack, f->frames[0].pack = 1)
LIE(frame_past_its_pack, f->frames[1].offset = f->packs[0].bytes)
LIE(frame_far_away, f->frames[1].offset = UINT64_MAX)
LIE(frame_of_no_bytes, f->frames[0].stored_bytes = 0)
LIE(pack_of_impossible_size, f->packs[0].bytes = PACK_MAX_BYTES + 1)
LIE(frame_raw_and_shorter, f->frames[0].stored_bytes--)
LIE(frame_too_large,
	(f->frames[0].raw_bytes = FRAME_MAX_BYTES + 1, f->frames[0].flags = 0))
LIE(frame_stored_too_large,
	(f->frames[0].stored_bytes = FRAME_MAX_BYTES + 1025, f->frames[0].flags = 0,
		f->packs[0].bytes = PACK_MAX_BYTES))
LIE(frame_of_chunks_outside, f->frames[1].chunk_count = 1000)
LIE(frame_with_a_chunk_of_another, f->frames[0].chunk_count++)

LIE(nested_on_nothing, f->nested[0].entry = 1000)
LIE(nested_on_a_file, f->nested[0].entry = (uint32_t)(entry(f, "small") - f->entries))
LIE(nested_on_a_directory, f->nested[0].entry = (uint32_t)(entry(f, "a") - f->entries))
LIE(nested_that_is_not_named, entry(f, "pack")->first = 1)
LIE(nested_too_small, f->nested[0].raw_bytes = 64)
LIE(nested_too_large, f->nested[0].raw_bytes = CATALOG_MAX_BYTES + 1)
LIE(nested_stored_as_nothing, f->nested[0].stored_bytes = 0)
LIE(nested_of_no_entries, f->nested[0].tree_entries = 0)
LIE(entries_that_are_not_there, f->header->tree_entries++)
LIE(bytes_that_are_not_there, f->header->tree_bytes--)
LIE(entries_below_that_do_not_add_up, f->nested[0].tree_entries += 2)
LIE(totals_that_wrap, (f->header->tree_bytes -= f->nested[0].tree_bytes + 1,
			      f->nested[0].tree_bytes = UINT64_MAX))
LIE(entries_that_wrap, (f->header->tree_entries -= f->nested[0].tree_entries + 1,
			       f->nested[0].tree_entries = UINT64_MAX))
LIE(nested_with_children, entry(f, "pack")->count = 1)
LIE(nested_top, (f->entries[0].flags = CATALOG_ENTRY_NESTED, f->entries[0].count = 0))
LIE(nested_with_no_record, f->header->sections[CATALOG_NESTED].count = 0)
LIE(nested_file, entry(f, "small")->flags = CATALOG_ENTRY_NESTED)
LIE(nested_device, entry(f, "null")->flags = CATALOG_ENTRY_NESTED)

LIE(attributes_outside, f->xattrs[0].offset = 1 << 30)
LIE(attributes_past_the_end, f->xattrs[0].length += 1)

static void attributes_that_share_bytes(struct forged *f)
{
	/* the packs' 40 bytes as two sets, once nothing else needs a pack */
	struct catalog_section_ref *refs = f->header->sections;
	static const enum catalog_section emptied[] = {
		CATALOG_CONTENTS, CATALOG_CHUNKS, CATALOG_FRAMES, CATALOG_PACKS};

	for (size_t i = 0; i < ARRAY_SIZE(emptied); i++)
		refs[emptied[i]].count = 0;
	refs[CATALOG_XATTRS] =
		(struct catalog_section_ref){refs[CATALOG_PACKS].offset, 2};
	f->xattrs = section(f, CATALOG_XATTRS);
	f->xattrs[1] = f->xattrs[0] = (struct catalog_xattr_set){
		.length = (uint32_t)refs[CATALOG_XATTR_DATA].count};
}

LIE(attributes_cut_in_a_head, f->xattrs[0].length = 18)
LIE(attribute_of_no_name, memset(f->xattr_data, 0, 2))
LIE(attribute_with_too_long_a_name, memset(f->xattr_data, 0xff, 2))
LIE(attribute_with_too_long_a_value, f->xattr_data[3] = 1)
LIE(attribute_with_a_huge_value, memset(f->xattr_data + 2, 0xff, 4))
LIE(attribute_with_a_nul_in_its_name, f->xattr_data[7] = '\0')

LIE(stale_in_a_published_one, entry(f, "small")->flags = CATALOG_ENTRY_STALE)
LIE(nanoseconds_of_a_second, entry(f, "small")->mtime_nsec = 1000000000)
LIE(no_inode, entry(f, "small")->ino = 0)
LIE(size_below_zero, entry(f, "pipe")->size = UINT64_MAX)
LIE(attribute_set_outside, entry(f, "small")->xattrs = 2)
LIE(link_forward, entry(f, "small")->link = (uint32_t)(entry(f, "link") - f->entries))

static void link_to_a_link(struct forged *f)
{
	uint32_t pipe = (uint32_t)(entry(f, "pipe") - f->entries);

	entry(f, "sparse")->link = pipe;
	entry(f, "sparse")->ino = entry(f, "pipe")->ino;
	entry(f, "pipe")->link = (uint32_t)(entry(f, "null") - f->entries);
}

LIE(link_to_another_file, entry(f, "link")->ino++)

static void link_of_a_directory(struct forged *f)
{
	struct catalog_entry *deep = entry(f, "deep");

	deep->link = (uint32_t)(entry(f, "a") - f->entries);
	deep->ino = entry(f, "a")->ino;
}

static void link_to_a_directory(struct forged *f)
{
	struct catalog_entry *sparse = entry(f, "sparse");

	sparse->link = (uint32_t)(entry(f, "a") - f->entries);
	sparse->ino = entry(f, "a")->ino;
}

static void link_to_a_nested_directory(struct forged *f)
{
	struct catalog_entry *sparse = entry(f, "sparse");

	sparse->link = (uint32_t)(entry(f, "pack") - f->entries);
	sparse->ino = entry(f, "pack")->ino;
}

/* the last directory of the catalog is given one child more than there are entries */
LIE(directory_past_the_end, entry(f, "deep")->count++)
LIE(directory_with_a_foreign_child, entry(f, "a")->count++)
LIE(names_out_of_order, *name_of(f, "small") = 'z')
LIE(one_name_twice, memcpy(name_of(f, "null"), "pack", 4))
LIE(second_order_out_of_a_directory, f->folded[entry(f, "big") - f->entries] = 0)
LIE(target_of_no_length, (entry(f, "to")->count = 0, entry(f, "to")->size = 0))
LIE(target_too_long, entry(f, "to")->count = 4096)
LIE(target_outside, entry(f, "to")->first = 1 << 30)
LIE(target_with_a_nul, f->targets[1] = '\0')
LIE(target_of_another_size, entry(f, "to")->size++)
LIE(content_outside, entry(f, "big")->first = 1000)
LIE(size_of_another_content, entry(f, "big")->size++)
LIE(a_socket, entry(f, "pipe")->mode = S_IFSOCK | 0600)
LIE(of_no_type, entry(f, "pipe")->mode = 0600)

static const struct lie {
	const char *name;
	void (*tell)(struct forged *f);
	const char *reason;
} lies[] = {
#define L(name, reason)                                                                  \
	{                                                                                \
#name, name, reason                                                      \
	}
	L(magic_of_something_else, "it is not a catalog"),
	L(version_of_tomorrow, "it is of a version that this program does not know"),
	L(length_too_long, "it is cut short or has bytes to spare"),
	L(length_too_short, "it is cut short or has bytes to spare"),
	L(too_few_sections, "it has a wrong number of sections"),
	L(too_many_sections, "it has a wrong number of sections"),
	L(section_not_aligned, "a section lies outside of it"),
	L(section_behind_the_end, "a section lies outside of it"),
	L(section_too_long, "a section lies outside of it"),
	L(section_that_wraps, "a section lies outside of it"),
	L(section_of_no_end, "a section lies outside of it"),
	L(composed_without_a_local_part,
		"its local part does not cover its nested catalogs"),
	L(local_part_of_a_published_one,
		"its local part does not cover its nested catalogs"),
	L(local_part_too_long, "its local part does not cover its nested catalogs"),
	L(no_entry, "it has no entry"),
	L(second_order_too_short, "its second order does not cover its entries"),
	L(path_with_dots, "its path is not sound"),
	L(path_from_the_root, "its path is not sound"),
	L(path_with_a_trailing_slash, "its path is not sound"),
	L(path_with_two_slashes, "its path is not sound"),
	L(top_that_is_a_file, "its top is not a directory"),
	L(top_with_a_name, "its top is not a directory"),
	L(name_outside, "a name is not sound"),
	L(name_past_the_end, "a name is not sound"),
	L(name_of_no_length, "a name is not sound"),
	L(name_too_long, "a name is not sound"),
	L(name_dot, "a name is not sound"),
	L(name_dot_dot, "a name is not sound"),
	L(name_with_a_slash, "a name is not sound"),
	L(name_with_a_nul, "a name is not sound"),
	L(parent_behind_its_child, "an entry is in no directory"),
	L(parent_of_itself, "an entry is in no directory"),
	L(parent_that_is_a_file, "an entry is in no directory"),
	L(parent_that_is_nested, "an entry is in no directory"),
	L(parent_that_has_another, "an entry is in no directory"),
	L(directory_that_lost_a_child, "an entry is in no directory"),
	L(pieces_outside, "a content's chunks lie outside of it"),
	L(too_many_pieces, "a content's chunks lie outside of it"),
	L(content_of_no_size, "a content's chunks lie outside of it"),
	L(content_of_impossible_size, "a content's chunks lie outside of it"),
	L(piece_of_no_chunk, "a chunk lies outside of it"),
	L(piece_past_the_content, "a content's chunks overlap or exceed it"),
	L(piece_far_away, "a content's chunks overlap or exceed it"),
	L(pieces_that_overlap, "a content's chunks overlap or exceed it"),
	L(pieces_out_of_order, "a content's chunks overlap or exceed it"),
	L(content_that_is_not_its_chunk, "a content and its only chunk differ"),
	L(data_that_does_not_add_up, "a content's chunks do not add up"),
	L(contents_that_share_pieces, "two contents share their chunks' places"),
	L(chunk_of_no_frame, "a frame lies outside of it"),
	L(chunk_of_no_length, "a chunk lies outside of its frame"),
	L(chunk_past_its_frame, "a chunk lies outside of its frame"),
	L(chunk_of_no_content, "a chunk belongs to no content"),
	L(chunk_whose_owner_is_another, "a chunk's owner does not use it"),
	L(chunk_whose_piece_is_another, "a chunk's owner does not use it"),
	L(chunk_whose_piece_is_nowhere, "a chunk's owner does not use it"),
	L(chunk_that_its_frame_does_not_list, "a chunk is missing in its frame's list"),
	L(frame_of_no_pack, "a frame lies outside of its pack"),
	L(frame_past_its_pack, "a frame lies outside of its pack"),
	L(frame_far_away, "a frame lies outside of its pack"),
	L(frame_of_no_bytes, "a frame lies outside of its pack"),
	L(pack_of_impossible_size, "a frame lies outside of its pack"),
	L(frame_raw_and_shorter, "a frame has an impossible size"),
	L(frame_too_large, "a frame has an impossible size"),
	L(frame_stored_too_large, "a frame has an impossible size"),
	L(frame_of_chunks_outside, "a frame's chunks lie outside of it"),
	L(frame_with_a_chunk_of_another, "a frame lists a chunk of another"),
	L(nested_on_nothing, "a nested catalog hangs on no directory"),
	L(nested_on_a_file, "a nested catalog hangs on no directory"),
	L(nested_on_a_directory, "a nested catalog hangs on no directory"),
	L(nested_that_is_not_named, "a nested catalog hangs on no directory"),
	L(nested_too_small, "a nested catalog has an impossible size"),
	L(nested_too_large, "a nested catalog has an impossible size"),
	L(nested_stored_as_nothing, "a nested catalog has an impossible size"),
	L(nested_of_no_entries, "a nested catalog has an impossible size"),
	L(entries_that_are_not_there, "its totals are not those of its entries"),
	L(bytes_that_are_not_there, "its totals are not those of its entries"),
	L(entries_below_that_do_not_add_up, "its totals are not those of its entries"),
	L(totals_that_wrap, "its totals are not those of its entries"),
	L(entries_that_wrap, "its totals are not those of its entries"),
	L(nested_with_children, "a nested catalog does not belong to its directory"),
	L(nested_top, "an entry is in no directory"),
	L(nested_with_no_record, "a nested catalog does not belong to its directory"),
	L(nested_file, "a nested catalog does not belong to its directory"),
	L(nested_device, "a nested catalog does not belong to its directory"),
	L(attributes_outside, "attributes lie outside of it"),
	L(attributes_past_the_end, "attributes lie outside of it"),
	L(attributes_that_share_bytes, "attributes overlap"),
	L(attributes_cut_in_a_head, "attributes are cut short"),
	L(attribute_of_no_name, "an attribute is not sound"),
	L(attribute_with_too_long_a_name, "an attribute is not sound"),
	L(attribute_with_too_long_a_value, "an attribute is not sound"),
	L(attribute_with_a_huge_value, "an attribute is not sound"),
	L(attribute_with_a_nul_in_its_name, "an attribute is not sound"),
	L(stale_in_a_published_one, "an entry is stale, which only a mirror may say"),
	L(nanoseconds_of_a_second, "an entry has impossible attributes"),
	L(no_inode, "an entry has impossible attributes"),
	L(size_below_zero, "an entry has impossible attributes"),
	L(attribute_set_outside, "an entry's attributes lie outside of it"),
	L(link_forward, "a hard link leads nowhere"),
	L(link_to_a_link, "a hard link leads nowhere"),
	L(link_to_another_file, "a hard link leads nowhere"),
	L(link_of_a_directory, "a hard link leads nowhere"),
	L(link_to_a_directory, "a hard link leads nowhere"),
	L(link_to_a_nested_directory, "a hard link leads nowhere"),
	L(directory_past_the_end, "a directory's children lie outside of it"),
	L(directory_with_a_foreign_child, "an entry has two parents"),
	L(names_out_of_order, "a directory is not in order"),
	L(one_name_twice, "a directory is not in order"),
	L(second_order_out_of_a_directory, "its second order leaves a directory"),
	L(target_of_no_length, "a symlink has no sound target"),
	L(target_too_long, "a symlink has no sound target"),
	L(target_outside, "a symlink has no sound target"),
	L(target_with_a_nul, "a symlink has no sound target"),
	L(target_of_another_size, "a symlink has no sound target"),
	L(content_outside, "a file's content lies outside of it"),
	L(size_of_another_content, "a file is not as long as its content"),
	L(a_socket, "an entry is of a type that does not travel"),
	L(of_no_type, "an entry is of a type that does not travel"),
#undef L
};

/* The path may be a MiB; only a catalog made for it is that long. */
#define TOO_LONG_A_PATH "its path is too long"

static void the_sample_is_sound(void **state)
{
	struct built_catalog *built = sample_catalog();
	const char *reason = NULL;
	struct catalog c;

	(void)state;
	assert_int_equal(catalog_check(&c, built->data, built->len, &reason), 0);
	assert_int_equal(c.entry_count, 11);
	assert_int_equal(c.frame_count, 2);
	assert_int_equal(c.nested_count, 1);
	assert_int_equal(c.xattr_count, 1);
	built_free(built);
}

static void every_lie_is_refused_for_its_reason(void **state)
{
	unsigned int wrong = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		AUTO_FORGED struct forged f = forge();
		const char *reason = "none";
		struct catalog c;

		lies[i].tell(&f);
		int r = catalog_check(&c, f.data, f.len, &reason);

		if (r != -EBADMSG || strcmp(reason, lies[i].reason) != 0) {
			print_message("%s: %d, %s\n", lies[i].name, r, reason);
			wrong++;
		}
	}
	assert_int_equal(wrong, 0);
}

static void a_path_of_more_than_a_mebibyte_is_refused(void **state)
{
	size_t len = (1 << 20) + 1;
	char *path = malloc(len + 1);
	const char *reason = NULL;
	struct catalog c;

	(void)state;
	assert_non_null(path);
	for (size_t i = 0; i < len; i++)
		path[i] = i % 2 ? '/' : 'x';
	path[len] = '\0';
	struct built_catalog *built = builder_finish(builder_new(path));

	assert_int_equal(catalog_check(&c, built->data, built->len, &reason), -EBADMSG);
	assert_string_equal(reason, TOO_LONG_A_PATH);
	built_free(built);
	path[len - 2] = '\0';
	built = builder_finish(builder_new(path));
	assert_int_equal(catalog_check(&c, built->data, built->len, &reason), 0);
	built_free(built);
	free(path);
}

/* At the exact end of a mapping, so that a read beyond it is seen. */
static void a_catalog_cut_anywhere_is_refused_and_not_read_beyond(void **state)
{
	struct built_catalog *built = sample_catalog();

	(void)state;
	for (size_t len = 0; len < built->len; len++) {
		const char *reason = NULL;
		uint8_t *copy = malloc(len ? len : 1);
		struct catalog c;

		assert_non_null(copy);
		memcpy(copy, built->data, len);
		assert_int_equal(catalog_check(&c, copy, len, &reason), -EBADMSG);
		if (len >= sizeof(struct catalog_header)) {
			((struct catalog_header *)(void *)copy)->total_bytes = len;
			(void)!catalog_check(&c, copy, len, &reason);
		}
		free(copy);
	}
	built_free(built);
}

static void a_composed_catalog_may_have_stale_entries(void **state)
{
	AUTO_FORGED struct forged f = forge();
	const char *reason = NULL;
	struct catalog c;

	(void)state;
	use_as_local(&f, 1);
	f.header->flags = CATALOG_COMPOSED;
	entry(&f, "small")->flags = CATALOG_ENTRY_STALE;
	entry(&f, "pack")->flags |= CATALOG_ENTRY_STALE;
	assert_int_equal(catalog_check(&c, f.data, f.len, &reason), 0);
	assert_true(catalog_is_composed(&c));
	assert_ptr_equal(c.local, f.nested);
	/* by a writer that knew no such section */
	f.header->section_count = CATALOG_PUBLISHED_SECTIONS;
	assert_int_equal(catalog_check(&c, f.data, f.len, &reason), -EBADMSG);
}

static void sections_to_come_are_passed_over(void **state)
{
	AUTO_FORGED struct forged f = forge();
	const char *reason = NULL;
	struct catalog c;

	(void)state;
	f.header->section_count = CATALOG_SECTIONS + 1;
	f.header->sections[CATALOG_SECTIONS] =
		(struct catalog_section_ref){1, UINT64_MAX};
	assert_int_equal(catalog_check(&c, f.data, f.len, &reason), 0);
}

static bool is_reached(const char *reason, size_t len)
{
	if (strlen(TOO_LONG_A_PATH) == len && memcmp(reason, TOO_LONG_A_PATH, len) == 0)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++)
		if (strlen(lies[i].reason) == len &&
			memcmp(lies[i].reason, reason, len) == 0)
			return true;
	return false;
}

static void no_reason_is_without_its_lie(void **state)
{
	AUTO_BUFFER struct buffer text = BUFFER_INIT(1 << 20);
	unsigned int reasons = 0;

	(void)state;
	assert_int_equal(io_read_file(AT_FDCWD, CATALOG_CHECK_SOURCE, &text), 0);
	assert_int_equal(buffer_add_zero(&text, 1), 0);
	for (const char *p = (const char *)text.data; (p = strchr(p, '"'));) {
		const char *end = strchr(++p, '"');

		assert_non_null(end);
		if (memchr(p, ' ', (size_t)(end - p))) {
			reasons++;
			if (!is_reached(p, (size_t)(end - p)))
				fail_msg("no lie reaches: %.*s", (int)(end - p), p);
		}
		p = end + 1;
	}
	assert_true(reasons > 40);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_sample_is_sound),
		cmocka_unit_test(every_lie_is_refused_for_its_reason),
		cmocka_unit_test(a_path_of_more_than_a_mebibyte_is_refused),
		cmocka_unit_test(a_catalog_cut_anywhere_is_refused_and_not_read_beyond),
		cmocka_unit_test(a_composed_catalog_may_have_stale_entries),
		cmocka_unit_test(sections_to_come_are_passed_over),
		cmocka_unit_test(no_reason_is_without_its_lie),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
