// What test_javascript.py runs in Node.js, with the JavaScript SDK beside it.
import assert from "node:assert";
import http from "node:http";
import { Readable } from "node:stream";
import * as s3 from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const place = new URL(process.env.AWS_ENDPOINT_URL);
const port = place.port;
// Whatever the name, it is this machine: the system may not know names below localhost.
const agent = new http.Agent({ keepAlive: true, lookup: (name, options, found) =>
    options.all ? found(null, [{ address: "127.0.0.1", family: 4 }]) : found(null, "127.0.0.1", 4) });

function client(forcePathStyle, endpoint) {
    return new s3.S3Client({ endpoint, forcePathStyle, maxAttempts: 1, requestHandler: { httpAgent: agent } });
}

async function request(url, options = {}) {
    return await new Promise((done, failed) => {
        const sent = http.request(url, { agent, method: options.method ?? "GET", headers: options.headers ?? {} }, (answer) => {
            let text = "";
            answer.on("data", (piece) => (text += piece));
            answer.on("end", () => done({ status: answer.statusCode, text, headers: answer.headers }));
        });
        sent.on("error", failed);
        sent.end(options.body);
    });
}

async function refused(name, call) {
    await assert.rejects(call, (error) => (assert.strictEqual(error.name, name), true));
}

async function walk(style, client) {
    const Bucket = `bucket-${style}`;
    const send = (command) => client.send(command);
    await send(new s3.CreateBucketCommand({ Bucket }));
    await send(new s3.HeadBucketCommand({ Bucket }));
    const put = await send(new s3.PutObjectCommand({ Bucket, Key: "a/b c+é.txt", Body: "hello", Metadata: { job: "1" } }));
    assert.ok(put.ChecksumCRC32, "the SDK sends one, and it comes back");
    const got = await send(new s3.GetObjectCommand({ Bucket, Key: "a/b c+é.txt", ChecksumMode: "ENABLED" }));
    assert.strictEqual(await got.Body.transformToString(), "hello");
    assert.deepStrictEqual(got.Metadata, { job: "1" });
    const list = await send(new s3.ListObjectsV2Command({ Bucket, Prefix: "a/" }));
    assert.deepStrictEqual(list.Contents.map((each) => each.Key), ["a/b c+é.txt"]);
    const location = await send(new s3.GetBucketLocationCommand({ Bucket }));
    assert.strictEqual(location.LocationConstraint, undefined);
    const versions = await send(new s3.ListObjectVersionsCommand({ Bucket }));
    assert.strictEqual(versions.Versions.length, 1);
    await refused("NoSuchKey", () => send(new s3.GetObjectCommand({ Bucket, Key: "none" })));
    await refused("NotFound", () => send(new s3.HeadObjectCommand({ Bucket, Key: "none" })));
    await refused("NoSuchBucket", () => send(new s3.ListObjectsV2Command({ Bucket: "none-of-these" })));

    // The SDK signs the checksum of no body into the query; what is sent then is another body.
    const signed = await getSignedUrl(client, new s3.PutObjectCommand({ Bucket, Key: "signed" }), { expiresIn: 60 });
    assert.match(signed, /x-amz-checksum-crc32=AAAAAA%3D%3D/);
    const sent = await request(signed, { method: "PUT", body: "through a link" });
    assert.strictEqual(sent.status, 200, sent.text);
    const link = await getSignedUrl(client, new s3.GetObjectCommand({ Bucket, Key: "signed" }), { expiresIn: 60 });
    assert.strictEqual((await request(link)).text, "through a link");
    const empty = await getSignedUrl(client, new s3.PutObjectCommand({ Bucket, Key: "empty" }), { expiresIn: 60 });
    assert.strictEqual((await request(empty, { method: "PUT" })).status, 200);
    const listing = await getSignedUrl(client, new s3.ListObjectsV2Command({ Bucket }), { expiresIn: 60 });
    assert.match((await request(listing)).text, /<Key>signed<\/Key>/);
    assert.strictEqual((await request(link.replace(/Signature=./, "Signature=x"))).status, 403);

    // A stream whose length is known goes in signed or unsigned chunks with a trailer.
    const data = Buffer.alloc(3 << 20, "x");
    await send(new s3.PutObjectCommand({ Bucket, Key: "stream", Body: Readable.from([data]), ContentLength: data.length }));
    const head = await send(new s3.HeadObjectCommand({ Bucket, Key: "stream" }));
    assert.strictEqual(head.ContentLength, data.length);

    const { UploadId } = await send(new s3.CreateMultipartUploadCommand({ Bucket, Key: "parts" }));
    const Parts = [];
    for (const [index, Body] of [Buffer.alloc(5 << 20, "a"), Buffer.from("end")].entries()) {
        const part = await send(new s3.UploadPartCommand({ Bucket, Key: "parts", UploadId, PartNumber: index + 1, Body }));
        Parts.push({ PartNumber: index + 1, ETag: part.ETag });
    }
    const whole = await send(new s3.CompleteMultipartUploadCommand({ Bucket, Key: "parts", UploadId, MultipartUpload: { Parts } }));
    assert.match(whole.ETag, /-2"$/);
    const range = await send(new s3.GetObjectCommand({ Bucket, Key: "parts", Range: "bytes=-3" }));
    assert.strictEqual(await range.Body.transformToString(), "end");
    await send(new s3.CopyObjectCommand({ Bucket, Key: "copy", CopySource: `${Bucket}/${encodeURIComponent("a/b c+é.txt")}` }));

    const all = await send(new s3.ListObjectsV2Command({ Bucket }));
    const Objects = all.Contents.map((each) => ({ Key: each.Key }));
    const deleted = await send(new s3.DeleteObjectsCommand({ Bucket, Delete: { Objects } }));
    assert.strictEqual(deleted.Deleted.length, Objects.length);
    await send(new s3.DeleteBucketCommand({ Bucket }));
    await s3.waitUntilBucketNotExists({ client, maxWaitTime: 5, minDelay: 1 }, { Bucket });
}

await walk("path", client(true, place.href));
await walk("host", client(false, `http://localhost:${port}`));
const buckets = await client(false, `http://localhost:${port}`).send(new s3.ListBucketsCommand({}));
assert.deepStrictEqual(buckets.Buckets ?? [], []);
console.log("done");
