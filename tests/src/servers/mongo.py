"""Fixtures for MongoDB: one call of pymongo, told in JSON (MongoDB's extended one)."""
import sys

import bson.json_util
import pymongo
import pymongo.errors

what, url = sys.argv[1:3]
options = {"serverSelectionTimeoutMS": 30000}
if len(sys.argv) > 3:
    options.update(tls=True, tlsCAFile=sys.argv[3])
client = pymongo.MongoClient(url, **options)
text = sys.stdin.read()

if what == "users":
    # No login is asked for yet.
    client.admin.command("createUser", "root", pwd="rootpw", roles=["root"])
if what in ("users", "user"):
    try:
        client.admin.command("createUser", "mqtt", pwd="mqttpw",
                             roles=[{"role": "readWriteAnyDatabase", "db": "admin"}])
    except pymongo.errors.OperationFailure as e:
        if e.code != 51003:  # it is there already
            raise
elif what == "insert":
    order = bson.json_util.loads(text)
    client[order["db"]][order["collection"]].insert_many(order["documents"])
elif what == "run":
    order = bson.json_util.loads(text)
    print(bson.json_util.dumps(client[order["db"]].command(order["command"])))
elif what == "find":
    order = bson.json_util.loads(text)
    print(bson.json_util.dumps(client[order["db"]][order["collection"]].find(order["filter"])))
elif what == "address":
    host, port = client.address
    print(f"{host}:{port}")
else:
    sys.exit(f"{what}?")
