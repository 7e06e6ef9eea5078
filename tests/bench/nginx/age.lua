-- civil-registry/age-at-least@1 by hand: the fields of the question and of the record are picked out
-- by pattern, as is usual where nginx does such a job. It knows no grant, no quota, no deadline of
-- its own and no other question, and its log line is on no disk when the answer leaves.

local match = ngx.re.match

local function text(json, name)
    local found = match(json, '"' .. name .. '":"([^"\\\\]*)"', "jo")
    return found and found[1]
end

local function answer(status, body)
    ngx.status = status
    ngx.header.content_type = "application/json"
    ngx.header.content_length = #body
    ngx.print(body)
    return ngx.exit(ngx.HTTP_OK)
end

ngx.req.read_body()
local asked = ngx.req.get_body_data() or ""
local predicate, kind, passport = text(asked, "predicate"), text(asked, "kind"), text(asked, "value")
local years = match(asked, '"years":(\\d+)', "jo")
local query_id, purpose = text(asked, "query_id"), text(asked, "purpose")
if predicate ~= "civil-registry/age-at-least@1" or kind ~= "passport" or not years or not purpose
    or not query_id or not passport or not match(passport, "^[A-Z0-9]{6,9}$", "jo")
then
    return answer(400, '{"title":"Malformed request"}')
end
ngx.var.query_id, ngx.var.predicate, ngx.var.subject = query_id, predicate, passport
ngx.var.purpose = purpose
ngx.var.case, ngx.var.operator = text(asked, "case") or "-", text(asked, "operator") or "-"

local reply = ngx.location.capture("/PersonQuery", {
    method = ngx.HTTP_POST,
    body = '<?xml version="1.0" encoding="utf-8"?>'
        .. '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
        .. '<m:QueryPerson xmlns:m="urn:civil-registry:person:2">'
        .. '<m:Identifier type="passport">' .. passport .. '</m:Identifier>'
        .. '<m:View>full</m:View></m:QueryPerson></s:Body></s:Envelope>',
})
if reply.status ~= 200 then
    return answer(502, '{"title":"Department failed"}')
end

local birth = match(reply.body, "<p:BirthDate>(\\d{4})-(\\d{2})-(\\d{2})</p:BirthDate>", "jo")
local is_plain = string.find(reply.body, "<p:Code>OK</p:Code><p:Count>1</p:Count>", 1, true)
    and string.find(reply.body, "<p:RecordStatus>ACTIVE</p:RecordStatus>", 1, true)
    and string.find(reply.body, "<p:LifeStatus>ALIVE</p:LifeStatus>", 1, true)
local year, month = string.match(ngx.today(), "^(%d+)-(%d+)")
local as_of = year .. "-" .. month .. "-01"
local verdict = "undetermined"
if birth and is_plain then
    local age = tonumber(year) - tonumber(birth[1])
    if birth[2] .. birth[3] > month .. "01" then
        age = age - 1
    end
    verdict = age >= tonumber(years[1]) and "yes" or "no"
end
ngx.var.verdict = verdict
return answer(200, '{"query_id":"' .. query_id .. '","predicate":"' .. predicate
    .. '","verdict":"' .. verdict .. '","as_of":"' .. as_of .. '"}')
